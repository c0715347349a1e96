//! MessagePack in and out, with a limit on every size.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

/// Why bytes could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A value has no MessagePack form (for instance a map whose length is unknown).
    #[error("the value cannot be encoded as MessagePack: {0}; use a type that has a known length and a form in serde")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The bytes are not MessagePack of the expected shape.
    #[error("{}", mismatch(.0))]
    Decode(#[from] rmp_serde::decode::Error),
    /// A value is larger than its limit.
    #[error("{what} is {bytes} bytes, the limit is {limit}; make it smaller, or pass on where it is stored")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A value is of another kind.
    #[error("{found} stands where {expected} is expected")]
    Shape {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A binary layout was cut short or breaks its rules.
    #[error("{0}; look at what wrote it, and whether that is of the same version")]
    Malformed(&'static str),
}

/// Encodes with field names, so that readers of another version can skip what they do not know.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(rmp_serde::to_vec_named(value)?)
}

/// Decodes one value and refuses bytes that follow it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut rest = bytes;
    let value = rmp_serde::decode::from_read(&mut rest)?;
    if !rest.is_empty() {
        return Err(CodecError::Malformed("bytes follow the MessagePack value"));
    }
    Ok(value)
}

/// The same for large values: what a value holds of binary data and text is copied once, and not twice.
pub(crate) fn decode_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut values = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = T::deserialize(&mut values)?;
    match IgnoredAny::deserialize(&mut values) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(CodecError::Malformed("bytes follow the MessagePack value")),
    }
}

/// What stands before so many bytes of binary data.
pub fn bin_header(bytes: usize) -> Result<Vec<u8>, CodecError> {
    let limit = u32::MAX as usize;
    check_size("binary data", bytes, limit)?;
    let size = (bytes as u32).to_be_bytes();
    Ok(match bytes {
        0..=0xff => vec![0xc4, size[3]],
        0x100..=0xffff => vec![0xc5, size[2], size[3]],
        _ => vec![0xc6, size[0], size[1], size[2], size[3]],
    })
}

/// Where the content begins of a value that is binary data, and nothing else.
pub(crate) fn bin_content(value: &[u8]) -> Result<usize, CodecError> {
    let (header, bytes) = match *value {
        [0xc4, a, ..] => (2, usize::from(a)),
        [0xc5, a, b, ..] => (3, usize::from(u16::from_be_bytes([a, b]))),
        [0xc6, a, b, c, d, ..] => (5, u32::from_be_bytes([a, b, c, d]) as usize),
        [first, ..] => return Err(CodecError::Shape { found: kind(first), expected: "binary data" }),
        [] => return Err(CodecError::Malformed("the MessagePack ends too early")),
    };
    match value.len() - header {
        rest if rest == bytes => Ok(header),
        rest if rest < bytes => Err(CodecError::Malformed("the MessagePack ends too early")),
        _ => Err(CodecError::Malformed("bytes follow the MessagePack value")),
    }
}

/// What does not fit, in words for whoever wrote the value, as JSON or in another language.
fn mismatch(error: &rmp_serde::decode::Error) -> String {
    use rmp_serde::decode::Error;
    match error {
        Error::TypeMismatch(marker) => format!("{} stands where another type is expected", kind(marker.to_u8())),
        Error::OutOfRange => "a number is too large or too small for its type".to_owned(),
        Error::LengthMismatch(length) => format!("an array does not have the {length} elements that are expected"),
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "the MessagePack ends too early".to_owned(),
        Error::Utf8Error(_) => "a text is not UTF-8".to_owned(),
        Error::DepthLimitExceeded => "the value is nested too deep".to_owned(),
        Error::Uncategorized(text) | Error::Syntax(text) => text.clone(),
    }
}

/// The kind of value that a first byte of MessagePack announces.
fn kind(first: u8) -> &'static str {
    match first {
        0x80..=0x8f | 0xde | 0xdf => "a map",
        0x90..=0x9f | 0xdc | 0xdd => "an array",
        0xa0..=0xbf | 0xd9..=0xdb => "a text",
        0xc0 => "null",
        0xc2 | 0xc3 => "true or false",
        0xc4..=0xc6 => "binary data",
        0xca | 0xcb => "a float",
        0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff => "a whole number",
        0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => "an extension type",
    }
}

/// Fails where `bytes` is over `limit`.
pub fn check_size(what: &'static str, bytes: usize, limit: usize) -> Result<(), CodecError> {
    if bytes > limit {
        return Err(CodecError::TooLarge { what, bytes, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_to_do() {
        let float = decode::<u8>(&encode(&0.5).unwrap()).unwrap_err();
        let encode = CodecError::Encode(rmp_serde::encode::Error::UnknownLength);
        let too_large = check_size("the argument", 2, 1).unwrap_err();
        let shape = bin_content(&[0xc0]).unwrap_err();
        let malformed = decode::<u8>(&[0, 0]).unwrap_err();
        for error in [encode, float, too_large, shape, malformed] {
            // A new variant does not compile until it is here, and above.
            let advice = match error {
                CodecError::Encode(_) => "; use a type",
                CodecError::Decode(_) | CodecError::Shape { .. } => "expected",
                CodecError::TooLarge { .. } => "; make it smaller",
                CodecError::Malformed(_) => "; look at what wrote it",
            };
            assert!(error.to_string().contains(advice), "{error}");
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&5u8).unwrap();
        assert_eq!(decode::<u8>(&bytes).unwrap(), 5);
        bytes.push(0);
        assert!(decode::<u8>(&bytes).is_err());
        assert!(decode_slice::<u8>(&bytes).is_err());
        assert_eq!(decode_slice::<u8>(&bytes[..1]).unwrap(), 5);
    }

    #[test]
    fn binary_data_is_found_behind_its_header() {
        for bytes in [0, 1, 0xff, 0x100, 0xffff, 0x10000] {
            let value = encode(serde_bytes::Bytes::new(&vec![7; bytes])).unwrap();
            let header = bin_content(&value).unwrap();
            assert_eq!(value[..header], bin_header(bytes).unwrap());
            assert_eq!(value.len() - header, bytes);
            assert!(bin_content(&[&value[..], &[0]].concat()).is_err());
            assert!(bin_content(&value[..value.len() - 1]).is_err());
        }
        assert!(bin_content(&[]).is_err() && bin_content(&[0xc6]).is_err());
        let said = bin_content(&encode("x").unwrap()).unwrap_err().to_string();
        assert_eq!(said, "a text stands where binary data is expected");
    }

    #[test]
    fn what_does_not_fit_is_said_in_words() {
        let said = |bytes: &[u8]| decode::<i32>(bytes).unwrap_err().to_string();
        assert_eq!(said(&encode("seven").unwrap()), "a text stands where another type is expected");
        assert_eq!(said(&[0xd2, 0]), "the MessagePack ends too early");
        assert_eq!(said(&[]), "the MessagePack ends too early");
    }

    #[test]
    fn a_huge_announced_length_allocates_nothing() {
        // array32 that claims 2^32 - 1 elements
        assert!(decode::<Vec<u64>>(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
