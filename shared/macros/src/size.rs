//! Amounts of memory as options write them: `64MiB`, `2GiB`.

/// The most that a pointer of today's machines reaches.
const MOST: u64 = 1 << 47;

/// Bytes, or what is wrong with `text`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(bad(text)),
    };
    if number.is_empty() {
        return Err(bad(text));
    }
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match bytes.filter(|bytes| *bytes <= MOST) {
        None => Err(format!("{text:?} is more memory than any machine has (131072GiB)")),
        Some(0) => Err("a memory limit of zero ends every task: leave it out for no limit".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

fn bad(text: &str) -> String {
    format!("{text:?} is no amount of memory: write a whole number and its unit, KiB, MiB or GiB, as in \"512MiB\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, expected) in [("1KiB", 1024), ("512MiB", 512 << 20), ("131072GiB", MOST)] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount() {
        for text in ["", "0MiB", "512", "MiB", "1.5GiB", "1 GiB", "1GB", "1gib", "131073GiB", "99999999999999999999GiB"]
        {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
