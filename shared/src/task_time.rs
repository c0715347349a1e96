//! How long a task ran, in one byte.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Steps in which the time doubles.
const STEPS_PER_DOUBLING: f64 = 6.0;

/// How long the attempt that ended a task ran, to within 6 %: one byte per task is cheap enough to keep it for
/// every task of a chunk.
///
/// 0 means unknown or not run. Any other value `n` stands for 2^((n − 1) / 6) microseconds: from 1 µs to about
/// 64 days (n = 255), which also stands for all that is longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct TaskTime(u8);

impl TaskTime {
    /// No time is known: the task did not run, or nobody saw how long.
    pub const UNKNOWN: Self = Self(0);

    /// The nearest time that can be told. A task that took no measurable time took a microsecond.
    pub fn of(run: Duration) -> Self {
        let us = (run.as_secs_f64() * 1e6).max(1.0);
        let step = (us.log2() * STEPS_PER_DOUBLING).round();
        Self(1 + step.min(254.0) as u8)
    }

    /// As it stands in a stored run.
    pub fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// As it stands in a stored run.
    pub fn byte(self) -> u8 {
        self.0
    }

    /// The time; none if it is unknown.
    pub fn duration(self) -> Option<Duration> {
        let step = self.0.checked_sub(1)?;
        Some(Duration::from_secs_f64((f64::from(step) / STEPS_PER_DOUBLING).exp2() * 1e-6))
    }
}

impl fmt::Display for TaskTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.duration() {
            Some(duration) => write!(f, "{duration:.1?}"),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_the_scale() {
        assert_eq!(TaskTime::of(Duration::ZERO).duration(), Some(Duration::from_micros(1)));
        assert_eq!(TaskTime::of(Duration::from_micros(1)).byte(), 1);
        let longest = TaskTime::of(Duration::MAX);
        assert_eq!(longest.byte(), 255);
        assert_eq!(longest.duration().map(|time| time.as_secs() / 86_400), Some(64));
        assert_eq!(TaskTime::UNKNOWN.duration(), None);
    }

    proptest! {
        #[test]
        fn a_time_is_kept_to_within_six_percent(us in 10u64..3_000_000_000) {
            let kept = TaskTime::of(Duration::from_micros(us)).duration().unwrap().as_secs_f64() * 1e6;
            prop_assert!((kept / us as f64 - 1.0).abs() < 0.06, "{us} µs became {kept} µs");
        }
    }
}
