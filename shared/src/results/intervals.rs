//! A set of indices that costs little where they are consecutive.

use std::collections::BTreeMap;

/// Stored as disjoint intervals that do not touch: start → one past the end.
#[derive(Debug, Default)]
pub(super) struct Intervals {
    intervals: BTreeMap<u64, u64>,
    len: u64,
}

impl Intervals {
    /// How many indices it holds.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn contains(&self, index: u64) -> bool {
        self.intervals.range(..=index).next_back().is_some_and(|(_, &end)| index < end)
    }

    /// Adds an index; `false` if it was there.
    pub(super) fn insert(&mut self, index: u64) -> bool {
        if index == u64::MAX || self.contains(index) {
            return false;
        }
        let before = self.intervals.range(..=index).next_back().filter(|&(_, &end)| end == index);
        let start = before.map_or(index, |(&start, _)| start);
        let end = self.intervals.remove(&(index + 1)).unwrap_or(index + 1);
        self.intervals.insert(start, end);
        self.len += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn consecutive_indices_are_one_interval() {
        let mut set = Intervals::default();
        for index in (0..1000).rev().chain(1000..2000) {
            assert!(set.insert(index));
        }
        assert_eq!((set.intervals.len(), set.len()), (1, 2000));
        assert!(!set.insert(1500));
    }

    proptest! {
        #[test]
        fn it_is_a_set(indices in prop::collection::vec(0u64..40, 0..80)) {
            let (mut set, mut model) = (Intervals::default(), HashSet::new());
            for index in indices {
                prop_assert_eq!(set.insert(index), model.insert(index));
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert!((0..41).all(|index| set.contains(index) == model.contains(&index)));
        }
    }
}
