//! Sizes in bytes as people type and read them.

/// How a size is written, for messages that refuse one.
pub const EXAMPLES: &str = "512MiB, 2GiB or a number of bytes";

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads `512MiB`, `1.5GiB`, `2G` (the same as GiB), `500MB` (powers of ten) or a bare number of bytes. Upper
/// and lower case mean the same.
pub fn parse(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let bytes_per_unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(bytes_per_unit);
    }
    let bytes = number.parse::<f64>().ok()? * bytes_per_unit as f64;
    // Half a byte is no size.
    (bytes_per_unit > 1 && bytes.is_finite() && bytes < (1_u64 << 63) as f64).then_some(bytes as u64)
}

/// A size for people: `512MiB`, `1.4GiB`, `300B`. What [`parse`] reads back is near it.
pub fn text(bytes: u64) -> String {
    let Some(&(unit, factor)) = UNITS.iter().find(|(_, factor)| bytes >= *factor) else {
        return format!("{bytes}B");
    };
    if bytes.is_multiple_of(factor) {
        return format!("{}{unit}", bytes / factor);
    }
    let tenths = u128::from(bytes) * 10 / u128::from(factor);
    format!("{}.{}{unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_forms_are_read() {
        let cases = [
            ("512MiB", 512 << 20),
            ("2GiB", 2 << 30),
            ("2g", 2 << 30),
            ("64kib", 64 << 10),
            ("1.5GiB", 3 << 29),
            ("500MB", 500_000_000),
            ("4096", 4_096),
            ("10b", 10),
            ("0", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn others_are_refused() {
        for text in
            ["", "MiB", "-1", "ten", "5 MiB", "1.5", "1..5G", "1e3", "5x", "nan", "99999999999999999999", "99999999TiB"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn people_read_short_texts() {
        let cases = [
            (300, "300B"),
            (512 << 20, "512MiB"),
            (3 << 29, "1.5GiB"),
            ((1 << 30) + 1, "1.0GiB"),
            ((512 << 20) - 1, "511.9MiB"),
        ];
        for (bytes, shown) in cases {
            assert_eq!(text(bytes), shown, "{bytes}");
        }
        for bytes in [1, 1_023, 1_024, 1_234_567, u64::MAX] {
            assert!(parse(&text(bytes)).is_none_or(|read| read.abs_diff(bytes) <= bytes / 8), "{bytes}");
        }
    }
}
