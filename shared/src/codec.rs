//! MessagePack in and out, with a limit on every size.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A value has no MessagePack form (for instance a map whose length is unknown).
    #[error("the value cannot be encoded as MessagePack: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The bytes are not MessagePack of the expected shape.
    #[error("{}", mismatch(.0))]
    Decode(#[from] rmp_serde::decode::Error),
    /// A value is larger than its limit.
    #[error("{what} is {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A binary layout was cut short or breaks its rules.
    #[error("{0}")]
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
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&5u8).unwrap();
        assert_eq!(decode::<u8>(&bytes).unwrap(), 5);
        bytes.push(0);
        assert!(decode::<u8>(&bytes).is_err());
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
