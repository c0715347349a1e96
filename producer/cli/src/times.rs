//! Times and durations, as people and programs read them.

use std::time::{Duration, SystemTime};

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

/// Reads a duration that must not be nothing; milliseconds are the shortest that tasks know.
pub fn parse_some_time(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration < Duration::from_millis(1) {
        return Err("too short: use 1ms or more, or leave the option away".to_owned());
    }
    Ok(duration)
}

/// A duration in a word or two: `850ms`, `12.3s`, `4m 5s`, `3h 10m`, `12d 4h`.
pub fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let pair = |large: u64, unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit} {small}{small_unit}") }
    };
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3_600 => pair(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Reads a moment as people type it. Without a zone it would mean something else on each machine.
pub fn parse_time(text: &str) -> Result<SystemTime, String> {
    let read = text.parse::<jiff::Timestamp>().ok().map(SystemTime::from);
    read.ok_or_else(|| {
        format!("{text:?} is no time with a zone: use for instance 2027-01-01T06:00:00+01:00, or 2027-01-01T05:00:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let cases =
            [(0, "0ms"), (850, "850ms"), (12_340, "12.3s"), (60_000, "1m"), (245_000, "4m 5s"), (11_400_000, "3h 10m")];
        for (ms, text) in cases {
            assert_eq!(short(Duration::from_millis(ms)), text);
        }
        assert_eq!(short(Duration::from_secs(12 * 86_400 + 4 * 3_600)), "12d 4h");
    }

    #[test]
    fn some_time_is_not_nothing() {
        assert_eq!(parse_some_time("1ms"), Ok(Duration::from_millis(1)));
        for text in ["0", "0s", "0ms", "0.5ms", "0h0m"] {
            assert!(parse_some_time(text).unwrap_err().contains("too short"), "{text}");
        }
        assert!(parse_some_time("soon").unwrap_err().contains("no duration"));
    }

    #[test]
    fn moments_need_a_zone() {
        let read = |text| parse_time(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(read("2025-11-24T16:00:00Z"), Ok(1_764_000_000));
        assert_eq!(read("2025-11-24T17:00:00+01:00"), Ok(1_764_000_000));
        for text in ["", "2025-11-24T16:00:00", "16:00", "tomorrow", "2025-13-24T16:00:00Z", "1764000000"] {
            assert!(read(text).unwrap_err().contains("zone"), "{text}");
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(rfc3339(1_764_000_000_123), "2025-11-24T16:00:00.123Z");
        assert_eq!(rfc3339(u64::MAX), "-");
    }
}
