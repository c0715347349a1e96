//! How fast tasks run here, and what follows from it: how much to claim, when to settle.

use std::time::Duration;

use gristmill_broker::Budget;
use gristmill_shared::defaults::{INFLIGHT_BYTES_MAX, INFLIGHT_MESSAGES_MAX};

/// Work that a consumer holds in advance.
const AHEAD: Duration = Duration::from_millis(20);
/// Nothing waits longer than this behind what runs.
pub const LONG: Duration = Duration::from_millis(100);
/// Weight of the newest task in the average.
const NEWEST: f64 = 0.2;
const SETTLE_MIN: Duration = Duration::from_millis(2);
const SETTLE_MAX: Duration = Duration::from_millis(10);

/// The moving average of the run time of a task.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    seconds: Option<f64>,
}

impl Pace {
    /// Takes in one more task.
    pub fn record(&mut self, run: Duration) {
        let run = run.as_secs_f64();
        self.seconds = Some(self.seconds.map_or(run, |average| average + NEWEST * (run - average)));
    }

    /// The average; none before the first task.
    pub fn task_time(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs_f64)
    }
}

/// What a consumer holds at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Tasks that may still begin in this process; none: as many as come.
    pub left: Option<u64>,
    /// Measured time of a task.
    pub task_time: Option<Duration>,
    /// Since when the running task runs, if one does.
    pub running_for: Option<Duration>,
    /// Tasks that have not begun.
    pub unstarted: u64,
    /// Messages in flight, and what they weigh.
    pub messages: usize,
    /// Bytes in flight.
    pub bytes: usize,
}

/// What to claim on top: about 20 ms of work. Where tasks are long or unknown, one message, and only
/// when nothing else is there.
pub fn budget(load: &Load) -> Budget {
    let idle = load.unstarted == 0 && load.running_for.is_none();
    let task_time = match (load.task_time, load.running_for) {
        (Some(average), running) => Some(average.max(running.unwrap_or_default())),
        (None, _) => None,
    };
    let room = INFLIGHT_MESSAGES_MAX.saturating_sub(load.messages);
    let bytes = INFLIGHT_BYTES_MAX.saturating_sub(load.bytes);
    if room == 0 || bytes == 0 {
        return Budget::NONE;
    }
    match task_time {
        Some(time) if time < AHEAD => {
            let tasks = (AHEAD.as_secs_f64() / time.as_secs_f64().max(1e-6)).ceil() as u64;
            match tasks.min(load.left.unwrap_or(u64::MAX)).saturating_sub(load.unstarted) {
                0 => Budget::NONE,
                tasks => Budget { messages: room.min(tasks as usize), tasks, bytes },
            }
        }
        _ if idle => Budget { messages: 1, tasks: u64::from(u32::MAX), bytes },
        _ => Budget::NONE,
    }
}

/// Whether tasks that were claimed ahead as short ones turned out to be so long that the last of them would
/// wait longer than anything should: `behind` of them stand behind the message that runs.
pub fn is_too_far_ahead(behind: u64, task_time: Option<Duration>) -> bool {
    task_time.is_some_and(|time| time.as_secs_f64() * behind as f64 >= LONG.as_secs_f64())
}

/// How long outcomes may wait for others to be settled with.
pub fn settle_after(task_time: Option<Duration>) -> Duration {
    task_time.map_or(SETTLE_MIN, |time| (time * 5).clamp(SETTLE_MIN, SETTLE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(task_us: u64, unstarted: u64) -> Load {
        Load { task_time: Some(Duration::from_micros(task_us)), unstarted, ..Load::default() }
    }

    #[test]
    fn short_tasks_are_claimed_twenty_milliseconds_ahead() {
        assert_eq!(budget(&load(1_000, 0)).tasks, 20);
        assert_eq!(budget(&load(1_000, 15)).tasks, 5);
        assert_eq!(budget(&load(1_000, 20)).messages, 0);
        assert_eq!(budget(&load(1, 0)).messages, INFLIGHT_MESSAGES_MAX);
    }

    #[test]
    fn what_may_not_begin_is_not_claimed() {
        let last = |left, unstarted| Load { left: Some(left), ..load(1_000, unstarted) };
        assert_eq!(budget(&last(7, 0)).tasks, 7);
        assert_eq!(budget(&last(7, 5)).tasks, 2);
        assert_eq!(budget(&last(7, 7)).messages, 0);
        assert_eq!(budget(&last(700, 0)).tasks, 20);
    }

    #[test]
    fn long_and_unknown_tasks_are_claimed_one_by_one() {
        for task_time in [None, Some(Duration::from_millis(20)), Some(Duration::from_secs(60))] {
            let idle = Load { task_time, ..Load::default() };
            assert_eq!(budget(&idle).messages, 1);
            assert_eq!(budget(&Load { unstarted: 1, ..idle }).messages, 0);
            assert_eq!(budget(&Load { running_for: Some(Duration::ZERO), ..idle }).messages, 0);
        }
    }

    #[test]
    fn a_task_that_runs_long_stops_claims_whatever_the_average_says() {
        let long = Load { running_for: Some(Duration::from_millis(30)), ..load(1_000, 0) };
        assert_eq!(budget(&long).messages, 0);
    }

    #[test]
    fn a_full_list_claims_nothing() {
        assert_eq!(budget(&Load { messages: INFLIGHT_MESSAGES_MAX, ..load(1, 0) }).messages, 0);
        assert_eq!(budget(&Load { bytes: INFLIGHT_BYTES_MAX, ..load(1, 0) }).messages, 0);
    }

    #[test]
    fn what_was_claimed_as_short_and_is_long_is_too_much() {
        let mut pace = Pace::default();
        (0..100).for_each(|_| pace.record(Duration::from_micros(20)));
        assert!(!is_too_far_ahead(255, pace.task_time()));
        pace.record(Duration::from_millis(50));
        assert!(is_too_far_ahead(255, pace.task_time()));
        assert!(!is_too_far_ahead(0, pace.task_time()) && !is_too_far_ahead(255, None));
    }

    #[test]
    fn outcomes_wait_two_to_ten_milliseconds() {
        assert_eq!(settle_after(Some(Duration::from_micros(1))), SETTLE_MIN);
        assert_eq!(settle_after(Some(Duration::from_millis(1))), Duration::from_millis(5));
        assert_eq!(settle_after(Some(Duration::from_secs(1))), SETTLE_MAX);
    }
}
