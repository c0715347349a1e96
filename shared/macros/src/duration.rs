//! Times as options write them: `500ms`, `30s`, `10m`, `2h`.

/// A year: what is longer is a slip of the pen.
const LONGEST_MS: u64 = 365 * 24 * 3_600_000;

/// Milliseconds, or what is wrong with `text`.
pub fn milliseconds(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(bad(text)),
    };
    if number.is_empty() {
        return Err(bad(text));
    }
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    ms.filter(|ms| *ms <= LONGEST_MS).ok_or_else(|| format!("{text:?} is longer than a year (8760h)"))
}

fn bad(text: &str) -> String {
    format!("{text:?} is not a time: write a whole number and its unit, ms, s, m or h, as in \"30s\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, ms) in [("0s", 0), ("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("8760h", LONGEST_MS)] {
            assert_eq!(milliseconds(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in ["", "30", "s", "1.5s", "-1s", "1 s", "1d", "1S", "30sec", "8761h", "99999999999999999999s"] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }
}
