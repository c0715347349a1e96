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
    #[error("the bytes are not the expected MessagePack: {0}")]
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
    fn a_huge_announced_length_allocates_nothing() {
        // array32 that claims 2^32 - 1 elements
        assert!(decode::<Vec<u64>>(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
