//! MessagePack to JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gristmill::shared::codec::CodecError;
use rmp::Marker;

use super::{BYTES, FLOAT};

/// Values nested deeper than this are refused, so that no output can exhaust the stack.
const DEPTH_MAX: u32 = 256;

/// The JSON text of one MessagePack value.
pub fn from_msgpack(bytes: &[u8]) -> Result<String, CodecError> {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    write_json(bytes, &mut out)?;
    String::from_utf8(out).map_err(|_| CodecError::Malformed("the output holds text that is not UTF-8"))
}

/// Appends the JSON text of one MessagePack value.
pub fn write_json(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut reader = Reader { rest: bytes };
    reader.value(out, 0)?;
    if !reader.rest.is_empty() {
        return Err(CodecError::Malformed("bytes follow the MessagePack value"));
    }
    Ok(())
}

/// The fields of a map, each with the JSON text of its value; none of any other value.
pub fn fields(bytes: &[u8]) -> Result<Option<Vec<(String, String)>>, CodecError> {
    let mut reader = Reader { rest: bytes };
    let length = match Marker::from_u8(reader.array::<1>()?[0]) {
        Marker::FixMap(length) => usize::from(length),
        Marker::Map16 => reader.length(2)?,
        Marker::Map32 => reader.length(4)?,
        _ => return Ok(None),
    };
    let mut fields = Vec::new();
    for _ in 0..length {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        reader.key(&mut key, 1)?;
        reader.value(&mut value, 1)?;
        let key = serde_json::from_slice(&key).map_err(|_| CodecError::Malformed("a key cannot be read"))?;
        fields.push((key, String::from_utf8_lossy(&value).into_owned()));
    }
    Ok(Some(fields))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        if self.rest.len() < count {
            return Err(CodecError::Malformed("the MessagePack value is cut short"));
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A length of `width` bytes.
    fn length(&mut self, width: usize) -> Result<usize, CodecError> {
        Ok(self.take(width)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: u32) -> Result<(), CodecError> {
        if depth > DEPTH_MAX {
            return Err(CodecError::Malformed("the output is nested deeper than 256 levels"));
        }
        match Marker::from_u8(self.array::<1>()?[0]) {
            Marker::Null | Marker::Reserved => out.extend_from_slice(b"null"),
            Marker::True => out.extend_from_slice(b"true"),
            Marker::False => out.extend_from_slice(b"false"),
            Marker::FixPos(n) => integer(out, n),
            Marker::FixNeg(n) => integer(out, n),
            Marker::U8 => integer(out, u8::from_be_bytes(self.array()?)),
            Marker::U16 => integer(out, u16::from_be_bytes(self.array()?)),
            Marker::U32 => integer(out, u32::from_be_bytes(self.array()?)),
            Marker::U64 => integer(out, u64::from_be_bytes(self.array()?)),
            Marker::I8 => integer(out, i8::from_be_bytes(self.array()?)),
            Marker::I16 => integer(out, i16::from_be_bytes(self.array()?)),
            Marker::I32 => integer(out, i32::from_be_bytes(self.array()?)),
            Marker::I64 => integer(out, i64::from_be_bytes(self.array()?)),
            Marker::F32 => float(out, f32::from_be_bytes(self.array()?), f32::is_finite)?,
            Marker::F64 => float(out, f64::from_be_bytes(self.array()?), f64::is_finite)?,
            Marker::FixStr(length) => self.text(out, usize::from(length))?,
            Marker::Str8 => self.sized(1, |reader, length| reader.text(out, length))?,
            Marker::Str16 => self.sized(2, |reader, length| reader.text(out, length))?,
            Marker::Str32 => self.sized(4, |reader, length| reader.text(out, length))?,
            Marker::Bin8 => self.sized(1, |reader, length| reader.bytes(out, length))?,
            Marker::Bin16 => self.sized(2, |reader, length| reader.bytes(out, length))?,
            Marker::Bin32 => self.sized(4, |reader, length| reader.bytes(out, length))?,
            Marker::FixArray(length) => self.items(out, usize::from(length), depth)?,
            Marker::Array16 => self.sized(2, |reader, length| reader.items(out, length, depth))?,
            Marker::Array32 => self.sized(4, |reader, length| reader.items(out, length, depth))?,
            Marker::FixMap(length) => self.entries(out, usize::from(length), depth)?,
            Marker::Map16 => self.sized(2, |reader, length| reader.entries(out, length, depth))?,
            Marker::Map32 => self.sized(4, |reader, length| reader.entries(out, length, depth))?,
            Marker::FixExt1 => self.extension(out, 1)?,
            Marker::FixExt2 => self.extension(out, 2)?,
            Marker::FixExt4 => self.extension(out, 4)?,
            Marker::FixExt8 => self.extension(out, 8)?,
            Marker::FixExt16 => self.extension(out, 16)?,
            Marker::Ext8 => self.sized(1, |reader, length| reader.extension(out, length))?,
            Marker::Ext16 => self.sized(2, |reader, length| reader.extension(out, length))?,
            Marker::Ext32 => self.sized(4, |reader, length| reader.extension(out, length))?,
        }
        Ok(())
    }

    fn sized(
        &mut self,
        width: usize,
        read: impl FnOnce(&mut Self, usize) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let length = self.length(width)?;
        read(self, length)
    }

    fn text(&mut self, out: &mut Vec<u8>, length: usize) -> Result<(), CodecError> {
        let bytes = self.take(length)?;
        quote(out, &String::from_utf8_lossy(bytes))
    }

    fn bytes(&mut self, out: &mut Vec<u8>, length: usize) -> Result<(), CodecError> {
        tagged(out, BYTES, &STANDARD.encode(self.take(length)?));
        Ok(())
    }

    /// Kernels written in Rust return no extension types; one of another origin is shown as its bytes.
    fn extension(&mut self, out: &mut Vec<u8>, length: usize) -> Result<(), CodecError> {
        self.take(1)?;
        self.bytes(out, length)
    }

    fn items(&mut self, out: &mut Vec<u8>, length: usize, depth: u32) -> Result<(), CodecError> {
        out.push(b'[');
        for i in 0..length {
            if i > 0 {
                out.push(b',');
            }
            self.value(out, depth + 1)?;
        }
        out.push(b']');
        Ok(())
    }

    fn entries(&mut self, out: &mut Vec<u8>, length: usize, depth: u32) -> Result<(), CodecError> {
        out.push(b'{');
        for i in 0..length {
            if i > 0 {
                out.push(b',');
            }
            self.key(out, depth + 1)?;
            out.push(b':');
            self.value(out, depth + 1)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// JSON's keys are strings: any other key becomes the string of its JSON text.
    fn key(&mut self, out: &mut Vec<u8>, depth: u32) -> Result<(), CodecError> {
        let mut key = Vec::new();
        self.value(&mut key, depth)?;
        if key.first() == Some(&b'"') {
            out.append(&mut key);
            return Ok(());
        }
        quote(out, &String::from_utf8_lossy(&key))
    }
}

fn integer(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// The shortest text that reads back as the same float, of its own width.
fn float<F: Copy + Into<f64> + serde::Serialize>(
    out: &mut Vec<u8>,
    value: F,
    is_finite: fn(F) -> bool,
) -> Result<(), CodecError> {
    if is_finite(value) {
        return serde_json::to_writer(out, &value).map_err(|_| CodecError::Malformed("a float cannot be written"));
    }
    let wide: f64 = value.into();
    let name = match wide {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    };
    tagged(out, FLOAT, name);
    Ok(())
}

fn quote(out: &mut Vec<u8>, text: &str) -> Result<(), CodecError> {
    serde_json::to_writer(out, text).map_err(|_| CodecError::Malformed("a text cannot be written"))
}

/// `text` needs no escapes: it is base64, or one of our own names.
fn tagged(out: &mut Vec<u8>, key: &str, text: &str) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":\"");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\"}");
}
