//! Which results the caller got.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of indices, kept as intervals: results are read more or less in order, so there are few.
#[derive(Debug, Default)]
pub(super) struct Returned {
    /// Start → one past the end; they do not touch.
    intervals: BTreeMap<u64, u64>,
    len: u64,
}

impl Returned {
    /// How many there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether all of these are there.
    pub fn covers(&self, indices: &Range<u64>) -> bool {
        self.intervals.range(..=indices.start).next_back().is_some_and(|(_, &end)| indices.end <= end)
    }

    pub fn insert(&mut self, index: u64) {
        let before = self.intervals.range(..=index).next_back().map(|(&start, &end)| (start, end));
        let start = match before {
            Some((_, end)) if index < end => return,
            Some((start, end)) if end == index => start,
            _ => index,
        };
        let end = self.intervals.remove(&(index + 1)).unwrap_or(index + 1);
        self.intervals.insert(start, end);
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_interval() {
        let mut returned = Returned::default();
        for index in [0, 2, 3, 9, 1, 1] {
            returned.insert(index);
        }
        assert_eq!((returned.len(), returned.intervals.len()), (5, 2));
        assert!(returned.covers(&(0..4)) && returned.covers(&(9..10)) && returned.covers(&(2..3)));
        assert!(!returned.covers(&(0..5)) && !returned.covers(&(8..10)) && !returned.covers(&(4..5)));
    }
}
