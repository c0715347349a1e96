//! Which results the caller got, and which of them Redis may forget.

use std::collections::VecDeque;
use std::ops::Range;

use gristmill_shared::intervals::Intervals;

/// Kept as intervals: results are read more or less in order, so there are few.
#[derive(Debug)]
pub(super) struct Returned {
    /// Those that Redis may forget.
    done: Intervals,
    /// Those that the caller got and did not acknowledge yet; none: it need not.
    handed: Option<Handed>,
}

/// In the order in which the caller got them.
#[derive(Debug, Default)]
struct Handed {
    ranges: VecDeque<Range<u64>>,
    acknowledged: u64,
}

impl Returned {
    /// `acknowledge`: what the caller got is done only when it said so.
    pub fn new(acknowledge: bool) -> Self {
        Self { done: Intervals::default(), handed: acknowledge.then(Handed::default) }
    }

    /// How many are done.
    pub fn len(&self) -> u64 {
        self.done.len()
    }

    /// Whether all of these are done.
    pub fn covers(&self, indices: &Range<u64>) -> bool {
        self.done.covers(indices)
    }

    /// Whether something that the caller got is not done.
    pub fn is_pending(&self) -> bool {
        self.handed.as_ref().is_some_and(|handed| !handed.ranges.is_empty())
    }

    /// The caller got this one.
    pub fn hand_out(&mut self, index: u64) {
        let Some(handed) = &mut self.handed else {
            self.done.insert(index);
            return;
        };
        match handed.ranges.back_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => handed.ranges.push_back(index..index + 1),
        }
    }

    /// The first `count` that the caller got are done.
    pub fn acknowledge(&mut self, count: u64) {
        let Some(handed) = &mut self.handed else { return };
        while let Some(first) = handed.ranges.front_mut()
            && handed.acknowledged < count
        {
            let end = first.end.min(first.start + (count - handed.acknowledged));
            handed.acknowledged += end - first.start;
            self.done.insert_range(first.start..end);
            first.start = end;
            if first.is_empty() {
                handed.ranges.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(returned: &Returned) -> Vec<Range<u64>> {
        returned.done.ranges().collect()
    }

    #[test]
    fn without_acknowledgement_what_was_got_is_done() {
        let mut returned = Returned::new(false);
        for index in [0, 2, 3, 9, 1, 1] {
            returned.hand_out(index);
        }
        returned.acknowledge(100);
        assert_eq!((returned.len(), done(&returned)), (5, vec![0..4, 9..10]));
        assert!(returned.covers(&(0..4)) && !returned.covers(&(0..5)) && !returned.is_pending());
    }

    #[test]
    fn results_are_done_in_the_order_in_which_they_were_got() {
        let mut returned = Returned::new(true);
        for index in [5, 6, 7, 0, 8, 9] {
            returned.hand_out(index);
        }
        assert_eq!((returned.len(), returned.is_pending()), (0, true));
        returned.acknowledge(2);
        assert_eq!(done(&returned), std::slice::from_ref(&(5..7)));
        returned.acknowledge(1);
        assert_eq!(returned.len(), 2, "less than before changes nothing");
        returned.acknowledge(5);
        assert_eq!((done(&returned), returned.is_pending()), (vec![0..1, 5..9], true));
        returned.acknowledge(99);
        assert_eq!((returned.len(), returned.is_pending()), (6, false));
        returned.hand_out(1);
        returned.acknowledge(6);
        assert!(returned.is_pending(), "nobody acknowledged the seventh");
        returned.acknowledge(7);
        assert_eq!(done(&returned), [0..2, 5..10]);
    }
}
