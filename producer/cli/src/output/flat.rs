//! Values as cells.

use serde_json::Value;

use crate::json;

/// The fields of a record as cells, in their order; none of any other value.
pub fn fields(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let fields = json::fields(bytes).ok().flatten()?;
    Some(fields.into_iter().map(|(name, text)| (name, plain(text))).collect())
}

/// A whole value as one cell.
pub fn cell(bytes: &[u8]) -> Result<String, String> {
    json::from_msgpack(bytes).map(plain).map_err(|error| error.to_string())
}

/// A string is its text, nothing is nothing, what is no number has a name; all else is JSON.
fn plain(text: String) -> String {
    match text.as_bytes() {
        b"null" => String::new(),
        [b'"', ..] => serde_json::from_str(&text).unwrap_or(text),
        [b'{', ..] => float(&text).unwrap_or(text),
        _ => text,
    }
}

fn float(text: &str) -> Option<String> {
    if text.len() > 32 {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.get(json::FLOAT)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        json::to_msgpack(text).unwrap()
    }

    #[test]
    fn cells_are_what_other_programs_read() {
        for (value, text) in [
            ("1", "1"),
            ("-0.5", "-0.5"),
            ("true", "true"),
            ("null", ""),
            (r#""a\nb""#, "a\nb"),
            (r#"{"$float":"NaN"}"#, "NaN"),
            (r#"{"$float":"-Infinity"}"#, "-Infinity"),
            (r#"{"$bytes":"AAE="}"#, r#"{"$bytes":"AAE="}"#),
            (r#"[1,"x"]"#, r#"[1,"x"]"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(cell(&packed(value)).unwrap(), text, "{value}");
        }
        assert!(cell(&[0xc1, 0xc1]).is_err());
    }

    #[test]
    fn a_record_is_flattened_one_level() {
        let found = fields(&packed(r#"{"a":null,"b":{"c":[1]},"n":"x"}"#)).unwrap();
        let found: Vec<_> = found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(found, [("a", ""), ("b", r#"{"c":[1]}"#), ("n", "x")]);
        assert_eq!(fields(&packed("[1]")), None);
        assert_eq!(fields(&packed("{}")), Some(Vec::new()));
    }
}
