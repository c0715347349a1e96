//! Times and durations, as people and programs read them.

use std::time::Duration;

/// RFC 3339 in UTC, from epoch milliseconds.
pub fn rfc3339(epoch_ms: u64) -> String {
    let time = i64::try_from(epoch_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.3}"))
}

/// Reads a duration as people type it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let read = gristmill::shared::duration::parse(text);
    read.ok_or_else(|| format!("{text:?} is no duration: use for instance 500ms, 30s, 5m, 2h or 1m30s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(rfc3339(1_764_000_000_123), "2025-11-24T16:00:00.123Z");
        assert_eq!(rfc3339(u64::MAX), "-");
    }
}
