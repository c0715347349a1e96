//! A set of indices that costs little where they are consecutive.

use std::collections::BTreeMap;
use std::ops::Range;

/// Stored as disjoint intervals that do not touch: start → one past the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intervals {
    intervals: BTreeMap<u64, u64>,
    len: u64,
}

impl Intervals {
    /// How many indices it holds.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One past its largest index.
    pub fn end(&self) -> u64 {
        self.intervals.last_key_value().map_or(0, |(_, &end)| end)
    }

    /// Whether it holds this index.
    pub fn contains(&self, index: u64) -> bool {
        self.intervals.range(..=index).next_back().is_some_and(|(_, &end)| index < end)
    }

    /// Whether it holds all of these.
    pub fn covers(&self, indices: &Range<u64>) -> bool {
        self.intervals.range(..=indices.start).next_back().is_some_and(|(_, &end)| indices.end <= end)
    }

    /// Whether it holds one of these.
    pub fn meets(&self, indices: &Range<u64>) -> bool {
        self.intervals.range(..indices.end).next_back().is_some_and(|(_, &end)| end > indices.start)
    }

    /// Adds an index; `false` if it was there.
    pub fn insert(&mut self, index: u64) -> bool {
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

    /// Adds all of these.
    pub fn insert_range(&mut self, indices: Range<u64>) {
        if indices.is_empty() {
            return;
        }
        let (mut start, mut end) = (indices.start, indices.end);
        while let Some((&from, &to)) = self.intervals.range(..=end).next_back().filter(|&(_, &to)| to >= start) {
            self.intervals.remove(&from);
            self.len -= to - from;
            (start, end) = (start.min(from), end.max(to));
        }
        self.intervals.insert(start, end);
        self.len += end - start;
    }

    /// The intervals, in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.intervals.iter().map(|(&start, &end)| start..end)
    }
}

impl FromIterator<Range<u64>> for Intervals {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::default();
        ranges.into_iter().for_each(|range| set.insert_range(range));
        set
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
        assert_eq!((set.intervals.len(), set.len(), set.end()), (1, 2000, 2000));
        assert!(!set.insert(1500));
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((0u64..40, 0u64..6), 0..80)) {
            let (mut set, mut model) = (Intervals::default(), HashSet::new());
            for (start, count) in steps {
                if count == 0 {
                    prop_assert_eq!(set.insert(start), model.insert(start));
                } else {
                    set.insert_range(start..start + count);
                    model.extend(start..start + count);
                }
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert!((0..50).all(|index| set.contains(index) == model.contains(&index)));
            let listed: Vec<_> = set.ranges().collect();
            prop_assert!(listed.windows(2).all(|pair| pair[0].end < pair[1].start), "they touch: {:?}", listed);
            prop_assert_eq!(set.end(), model.iter().max().map_or(0, |index| index + 1));
            for range in (0u64..45).flat_map(|start| (start + 1..46).map(move |end| start..end)) {
                prop_assert_eq!(set.covers(&range), range.clone().all(|index| model.contains(&index)));
                prop_assert_eq!(set.meets(&range), range.clone().any(|index| model.contains(&index)));
            }
            prop_assert_eq!(listed.into_iter().collect::<Intervals>(), set);
        }
    }
}
