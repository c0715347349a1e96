//! How many tasks go into one message: sized by bytes and by measured time.

use std::time::Duration;

use gristmill_shared::defaults::MESSAGE_TASKS_MAX;

/// A message should be about this much work: long enough to make its transport cheap, short enough
/// to be spread evenly.
const MESSAGE_WORK: Duration = Duration::from_millis(30);
/// A size grows at most by this factor per measurement: a measurement can be wrong.
const GROWTH: u32 = 4;

/// Learns the size of chunks from how fast tasks end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkSize {
    tasks: u32,
    fixed: bool,
}

impl ChunkSize {
    /// The size that the caller chose. Without one nothing is measured yet: one task per message, for
    /// who knows how long a task is.
    pub fn new(chosen: Option<u32>) -> Self {
        Self { tasks: chosen.unwrap_or(1).clamp(1, MESSAGE_TASKS_MAX), fixed: chosen.is_some() }
    }

    /// A measurement: `ended` tasks in `elapsed`, while `busy` consumers had something to do. They ran for `task_time`
    /// each; where nobody knows, what their results took to come must do, although a slow source or reader makes that
    /// longer.
    pub fn measured(&mut self, ended: u64, elapsed: Duration, busy: u64, task_time: Option<Duration>) {
        if self.fixed || ended == 0 || elapsed.is_zero() {
            return;
        }
        let by_results = || elapsed.mul_f64(busy.max(1) as f64 / ended as f64);
        let task_seconds = task_time.unwrap_or_else(by_results).as_secs_f64();
        let wanted = (MESSAGE_WORK.as_secs_f64() / task_seconds).clamp(1.0, f64::from(MESSAGE_TASKS_MAX)) as u32;
        self.tasks = wanted.min(self.tasks.saturating_mul(GROWTH)).clamp(1, MESSAGE_TASKS_MAX);
    }

    /// The size for a batch of which `left` tasks are known to remain: never so large that some of
    /// `consumers` would have nothing to do.
    pub fn for_remaining(&self, left: usize, consumers: u64) -> u32 {
        if self.fixed {
            return self.tasks;
        }
        let share = left as u64 / (4 * consumers.max(1));
        self.tasks.min(u32::try_from(share).unwrap_or(u32::MAX)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tasks_stay_alone() {
        let mut size = ChunkSize::new(None);
        size.measured(2, Duration::from_secs(1), 2, None);
        assert_eq!(size.tasks, 1);
    }

    #[test]
    fn short_tasks_grow_step_by_step_to_the_measured_work() {
        let mut size = ChunkSize::new(None);
        size.measured(40_000, Duration::from_secs(1), 2, None);
        assert_eq!(size.tasks, 4);
        for _ in 0..10 {
            size.measured(40_000, Duration::from_secs(1), 2, None);
        }
        // 50 µs each: 600 make 30 ms
        assert_eq!(size.tasks, 600);
        for _ in 0..10 {
            size.measured(100_000_000, Duration::from_secs(1), 2, None);
        }
        assert_eq!(size.tasks, MESSAGE_TASKS_MAX);
    }

    #[test]
    fn sizes_shrink_at_once() {
        let mut size = ChunkSize { tasks: 4096, fixed: false };
        size.measured(100, Duration::from_secs(1), 1, None);
        assert_eq!(size.tasks, 3);
        size.measured(0, Duration::from_secs(1), 1, None);
        assert_eq!(size.tasks, 3);
    }

    #[test]
    fn a_reader_that_pauses_changes_no_size() {
        let mut size = ChunkSize::new(None);
        for _ in 0..10 {
            size.measured(600, Duration::from_secs(5), 2, Some(Duration::from_micros(50)));
        }
        assert_eq!(size.tasks, 600);
    }

    #[test]
    fn the_end_of_a_batch_is_spread_over_all_consumers() {
        let size = ChunkSize { tasks: 1000, fixed: false };
        assert_eq!(size.for_remaining(80, 10), 2);
        assert_eq!(size.for_remaining(1, 10), 1);
        assert_eq!(size.for_remaining(usize::MAX, 10), 1000);
    }

    #[test]
    fn a_chosen_size_stays() {
        let mut size = ChunkSize::new(Some(7));
        size.measured(40_000, Duration::from_secs(1), 2, None);
        assert_eq!(size.for_remaining(2, 10), 7);
        assert_eq!(ChunkSize::new(Some(0)).for_remaining(2, 10), 1);
    }
}
