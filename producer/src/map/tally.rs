//! How the tasks of a batch ended, and how long they took, in a bounded number of bytes.

use std::time::{Duration, Instant};

use gristmill_shared::{OutcomeKind, TaskTime};

/// What a `map` did so far: see [`MapHandle::summary`](super::MapHandle::summary).
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    counts: [u64; 8],
    /// How many tasks took each of the times that can be told.
    times: Vec<u64>,
    wall: Duration,
}

impl Summary {
    /// Tasks that have ended.
    pub fn ended(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Tasks that ended like this.
    pub fn count(&self, kind: OutcomeKind) -> u64 {
        self.counts[usize::from(kind.code())]
    }

    /// From the call of `map` to the arrival of the last outcome so far.
    pub fn wall(&self) -> Duration {
        self.wall
    }

    /// Tasks per second.
    pub fn rate(&self) -> f64 {
        let seconds = self.wall.as_secs_f64();
        if seconds > 0.0 { self.ended() as f64 / seconds } else { 0.0 }
    }

    /// Tasks whose time is known: those that ran, also those whose process died over it, if anybody saw how long.
    pub fn timed(&self) -> u64 {
        self.times.iter().sum()
    }

    /// The time within which this share of the tasks ran (0.5 is the median), to within 6 %.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.timed() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        self.known().find_map(|(time, count)| {
            seen += count;
            (seen >= rank).then_some(time)
        })
    }

    /// The times of all tasks together: what one process would have needed. Earlier attempts do not count.
    pub fn serial(&self) -> Duration {
        Duration::from_secs_f64(self.known().map(|(time, count)| time.as_secs_f64() * count as f64).sum())
    }

    /// How many times as fast as one process.
    pub fn speed_up(&self) -> Option<f64> {
        let wall = self.wall.as_secs_f64();
        (self.timed() > 0 && wall > 0.0).then(|| self.serial().as_secs_f64() / wall)
    }

    fn known(&self) -> impl Iterator<Item = (Duration, u64)> {
        let times = self.times.iter().enumerate().filter(|(_, count)| **count > 0);
        times.filter_map(|(byte, &count)| Some((TaskTime::from_byte(byte as u8).duration()?, count)))
    }
}

/// Gathers it.
#[derive(Debug)]
pub(super) struct Tally {
    start: Instant,
    summary: Summary,
    /// Tasks whose time was known when [`Self::task_time`] was asked last, and their times together.
    asked: (u64, Duration),
}

impl Tally {
    pub fn new() -> Self {
        let summary = Summary { counts: [0; 8], times: vec![0; 256], wall: Duration::ZERO };
        Self { start: Instant::now(), summary, asked: Default::default() }
    }

    pub fn add(&mut self, kind: OutcomeKind, time: TaskTime) {
        self.summary.counts[usize::from(kind.code())] += 1;
        if time != TaskTime::UNKNOWN {
            self.summary.times[usize::from(time.byte())] += 1;
        }
        self.summary.wall = self.start.elapsed();
    }

    pub fn ended(&self) -> u64 {
        self.summary.ended()
    }

    /// How long the tasks ran that ended since this was asked last, on average; none if nobody knows.
    pub fn task_time(&mut self) -> Option<Duration> {
        let now = (self.summary.timed(), self.summary.serial());
        let (before, serial) = std::mem::replace(&mut self.asked, now);
        let tasks = (now.0 - before) as f64;
        (tasks > 0.0).then(|| now.1.saturating_sub(serial).div_f64(tasks))
    }

    pub fn summary(&self) -> Summary {
        self.summary.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(time: Duration, ms: u64) -> bool {
        (time.as_secs_f64() * 1000.0 / ms as f64 - 1.0).abs() < 0.065
    }

    #[test]
    fn times_are_ranked_and_summed() {
        let mut tally = Tally::new();
        for ms in 1..=100 {
            tally.add(OutcomeKind::Succeeded, TaskTime::of(Duration::from_millis(ms)));
        }
        tally.add(OutcomeKind::Cancelled, TaskTime::UNKNOWN);
        let mut summary = tally.summary();
        assert_eq!((summary.ended(), summary.timed()), (101, 100));
        assert_eq!((summary.count(OutcomeKind::Succeeded), summary.count(OutcomeKind::Cancelled)), (100, 1));
        assert!(about(summary.percentile(0.5).unwrap(), 50), "{:?}", summary.percentile(0.5));
        assert!(about(summary.percentile(0.99).unwrap(), 99), "{:?}", summary.percentile(0.99));
        assert!(about(summary.percentile(0.0).unwrap(), 1) && about(summary.percentile(1.0).unwrap(), 100));
        assert!(about(summary.serial(), 5_050), "{:?}", summary.serial());
        summary.wall = Duration::from_millis(2_525);
        assert!((summary.speed_up().unwrap() - 2.0).abs() < 0.13);
        assert!((summary.rate() - 40.0).abs() < 0.1);
    }

    #[test]
    fn nothing_is_known_of_nothing() {
        let summary = Tally::new().summary();
        assert_eq!((summary.ended(), summary.percentile(0.5), summary.speed_up()), (0, None, None));
        assert_eq!((summary.serial(), summary.rate()), (Duration::ZERO, 0.0));
    }
}
