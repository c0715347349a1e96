//! Sets of task indices.

/// Ranges without overlap, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    /// The union of ranges `[start, end)`, and what stands in more than one of them.
    pub(super) fn of(mut ranges: Vec<(u64, u64)>) -> (Self, Self) {
        ranges.sort_unstable();
        let (mut union, mut twice) = (Self::default(), Self::default());
        for (start, end) in ranges {
            let reached = union.0.last().map_or(0, |last| last.1);
            if start < reached {
                twice.push(start, end.min(reached));
            }
            union.push(start, end);
        }
        (union, twice)
    }

    /// Adds a range that begins at or behind all others.
    fn push(&mut self, start: u64, end: u64) {
        match self.0.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => self.0.push((start, end)),
        }
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self::of(self.0.iter().chain(&other.0).copied().collect()).0
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&left), Some(&&right)) = (a.peek(), b.peek()) {
            let (start, end) = (left.0.max(right.0), left.1.min(right.1));
            if start < end {
                both.push(start, end);
            }
            if left.1 < right.1 {
                a.next()
            } else {
                b.next()
            };
        }
        both
    }

    /// What of `[0, until)` is not among them.
    pub(super) fn missing(&self, until: u64) -> Self {
        let (mut missing, mut reached) = (Self::default(), 0);
        for &(start, end) in &self.0 {
            if start > reached && reached < until {
                missing.push(reached, start.min(until));
            }
            reached = reached.max(end);
        }
        if reached < until {
            missing.push(reached, until);
        }
        missing
    }

    pub(super) fn covers(&self, start: u64, end: u64) -> bool {
        self.0.iter().any(|range| range.0 <= start && end <= range.1)
    }

    pub(super) fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_added_up() {
        let (union, twice) = Intervals::of(vec![(4, 6), (0, 2), (5, 9), (1, 2), (9, 10)]);
        assert_eq!((union.ranges(), twice.ranges()), (&[(0, 2), (4, 10)][..], &[(1, 2), (5, 6)][..]));
        assert_eq!(union.missing(12).ranges(), [(2, 4), (10, 12)]);
        assert_eq!(union.missing(3).ranges(), [(2, 3)]);
        assert_eq!(union.missing(0).len() + Intervals::default().missing(2).len(), 2);
        assert!(union.covers(5, 10) && !union.covers(1, 5));
        let (other, _) = Intervals::of(vec![(1, 5), (8, 20)]);
        assert_eq!(union.intersection(&other).ranges(), [(1, 2), (4, 5), (8, 10)]);
        assert_eq!(union.union(&other).ranges(), [(0, 20)]);
    }
}
