//! Two clocks: one for people, one for deadlines.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970, for people and records.
pub fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Milliseconds of the machine's monotonic clock, the same in all its processes.
pub fn monotonic_ms() -> u64 {
    // This clock exists on every Linux; 0 would only make deadlines look far.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| (time.tv_sec() as u64) * 1_000 + (time.tv_nsec() as u64) / 1_000_000)
}
