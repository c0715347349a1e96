//! The clock of this machine against that of Redis.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::exam::Exam;
use crate::exit::Exit;
use crate::times::short;

/// More than any time synchronisation leaves.
const SKEW: Duration = Duration::from_secs(2);

pub async fn check(exam: &mut Exam<'_>) -> Result<(), Exit> {
    let before = now();
    let Some((seconds, micros)) = exam.ask::<(u64, u64)>(&mut redis::cmd("TIME")).await? else {
        exam.unknown("clock", "its time");
        return Ok(());
    };
    let ours = (before + now()) / 2;
    let theirs = Duration::new(seconds, (micros * 1000) as u32);
    let skew = ours.abs_diff(theirs);
    let ahead = if ours > theirs { "ahead of" } else { "behind" };
    let found = format!("this machine is {} {ahead} Redis", short(skew));
    if skew < SKEW {
        exam.ok("clock", found);
    } else {
        let advice = "synchronise the clocks (NTP): tasks keep to that of Redis, logs and worker records do not";
        exam.warning("clock", found, advice);
    }
    Ok(())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
