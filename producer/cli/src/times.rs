//! Times and durations, as people and programs read them.

use std::time::Duration;

/// RFC 3339 in UTC, from epoch milliseconds.
pub fn rfc3339(epoch_ms: u64) -> String {
    let time = i64::try_from(epoch_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.3}"))
}

/// Reads `500ms`, `30s`, `5m`, `2h`, `1d` or a sum such as `1m30s`; a bare number means seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration: use for instance 500ms, 30s, 5m, 2h or 1m30s");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| bad());
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u32 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" | "min" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(24 * 3600),
            _ => return Err(bad()),
        };
        rest = &rest[letters..];
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
    }
    if text.is_empty() { Err(bad()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("1m30s", 90_000), ("2", 2_000), ("0.5", 500), ("1d", 86_400_000)]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "s", "5x", "-1", "5 s", "99999999999999999999s", "nan"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(rfc3339(1_764_000_000_123), "2025-11-24T16:00:00.123Z");
        assert_eq!(rfc3339(u64::MAX), "-");
    }
}
