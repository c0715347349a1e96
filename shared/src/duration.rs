//! Durations as people type them, and moments in the future.

use std::time::{Duration, Instant};

/// As long as no program lives: whoever waits longer waits without end.
pub const FOREVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A moment so much later than now. Clocks cannot hold every duration; a moment that nobody will see is as good
/// as any other.
pub fn from_now(duration: Duration) -> Instant {
    Instant::now() + duration.min(FOREVER)
}

/// Reads `500ms`, `1.5s`, `5m`, `2h`, `1d` or a sum such as `1m30s`; a bare number means seconds.
pub fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let seconds_per_unit = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "" if number.len() == text.len() => 1.0,
            _ => return None,
        };
        let seconds = number.parse::<f64>().ok()? * seconds_per_unit;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_forms_are_read() {
        let cases = [
            ("10s", 10_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1.5s", 1_500),
            ("7", 7_000),
            ("0.5", 500),
            ("1d", 86_400_000),
            ("1m30s", 90_000),
            ("1h5min", 3_900_000),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn others_are_refused() {
        for text in ["", "s", "-1s", "ten", "5x", "5 s", "1..5s", "1e3s", "1m30", "nan", "99999999999999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_duration_is_too_long() {
        assert!(from_now(Duration::MAX) > Instant::now());
    }
}
