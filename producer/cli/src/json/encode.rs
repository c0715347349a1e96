//! JSON to MessagePack.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmp::encode::{self, ByteBuf};
use serde_json::{Map, Number, Value};

use super::{BYTES, FLOAT};

/// Why a text is not a value that can be sent.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("not JSON: {}", place(.0))]
    Syntax(#[from] serde_json::Error),
    /// An integer that would lose digits.
    #[error("the integer {0} does not fit into 64 bits; write it as a string, or as a float such as 1e30")]
    Integer(String),
    /// `{"$bytes": …}` with something else than base64.
    #[error("{{\"$bytes\": …}} takes standard base64 with padding: {0}")]
    Bytes(String),
    /// `{"$float": …}` with something else than the three names.
    #[error("{{\"$float\": …}} takes \"NaN\", \"Infinity\" or \"-Infinity\", not {0}")]
    Float(String),
}

/// The error of the parser. Of a text of one line it names only the column: its line is another in a file.
fn place(error: &serde_json::Error) -> String {
    let (text, line, column) = (error.to_string(), error.line(), error.column());
    if line != 1 {
        return text;
    }
    match text.strip_suffix(&format!(" at line 1 column {column}")) {
        Some(what) if column > 0 => format!("{what} at column {column}"),
        Some(what) => what.to_owned(),
        None => text,
    }
}

/// Reads one JSON value and writes it as MessagePack.
pub fn to_msgpack(text: &str) -> Result<Vec<u8>, JsonError> {
    pack(&parse(text)?)
}

/// Reads one JSON value whose integers all fit into 64 bits.
pub fn parse(text: &str) -> Result<Value, JsonError> {
    let value = serde_json::from_str(text)?;
    match oversized_integer(text) {
        Some(integer) => Err(JsonError::Integer(integer.chars().take(60).collect())),
        None => Ok(value),
    }
}

/// Writes a JSON value as MessagePack.
pub fn pack(value: &Value) -> Result<Vec<u8>, JsonError> {
    let mut out = ByteBuf::new();
    write(&mut out, value)?;
    Ok(out.into_vec())
}

/// Appends a JSON value as MessagePack.
pub fn write(out: &mut ByteBuf, value: &Value) -> Result<(), JsonError> {
    match value {
        Value::Null => {
            let Ok(()) = encode::write_nil(out);
        }
        Value::Bool(flag) => {
            let Ok(()) = encode::write_bool(out, *flag);
        }
        Value::Number(number) => write_number(out, number),
        Value::String(text) => {
            let Ok(_) = encode::write_str(out, text);
        }
        Value::Array(items) => {
            let Ok(_) = encode::write_array_len(out, items.len() as u32);
            for item in items {
                write(out, item)?;
            }
        }
        Value::Object(map) => write_object(out, map)?,
    }
    Ok(())
}

fn write_number(out: &mut ByteBuf, number: &Number) {
    if let Some(integer) = number.as_u64() {
        let Ok(_) = encode::write_uint(out, integer);
    } else if let Some(integer) = number.as_i64() {
        let Ok(_) = encode::write_sint(out, integer);
    } else {
        // The remaining numbers are floats: serde_json holds nothing else without its
        // feature for arbitrary precision.
        let Ok(_) = encode::write_f64(out, number.as_f64().unwrap_or(f64::NAN));
    }
}

fn write_object(out: &mut ByteBuf, map: &Map<String, Value>) -> Result<(), JsonError> {
    if map.len() == 1 {
        if let Some(value) = map.get(BYTES) {
            let text = value.as_str().ok_or_else(|| JsonError::Bytes("a string is expected".into()))?;
            let bytes = STANDARD.decode(text).map_err(|error| JsonError::Bytes(error.to_string()))?;
            let Ok(_) = encode::write_bin(out, &bytes);
            return Ok(());
        }
        if let Some(value) = map.get(FLOAT) {
            let Ok(_) = encode::write_f64(out, float(value)?);
            return Ok(());
        }
    }
    let Ok(_) = encode::write_map_len(out, map.len() as u32);
    for (key, value) in map {
        let Ok(_) = encode::write_str(out, key);
        write(out, value)?;
    }
    Ok(())
}

fn float(value: &Value) -> Result<f64, JsonError> {
    match value.as_str() {
        Some("NaN") => Ok(f64::NAN),
        Some("Infinity") => Ok(f64::INFINITY),
        Some("-Infinity") => Ok(f64::NEG_INFINITY),
        _ => Err(JsonError::Float(value.to_string().chars().take(60).collect())),
    }
}

/// The first integer of a valid JSON text that a parser would have to round.
fn oversized_integer(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at + 1),
            b'-' | b'0'..=b'9' => {
                let length = bytes[at..].iter().take_while(|b| number_character(**b)).count();
                let number = &text[at..at + length];
                // 18 digits always fit, so that the common case costs no second parse.
                if length > 18 && !number.contains(['.', 'e', 'E']) && !fits(number) {
                    return Some(number);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}

fn number_character(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}

fn fits(number: &str) -> bool {
    number.parse::<u64>().is_ok() || number.parse::<i64>().is_ok()
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}
