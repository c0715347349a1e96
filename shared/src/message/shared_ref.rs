//! Which shared input a message needs.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::defaults::{BLOB_PART_BYTES, SHARED_BYTES_MAX};
use crate::shared_input::packing;

/// Names the shared input of the message's own batch: one MessagePack value, in parts of 8 MiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedRef {
    /// The part of the key between the batch and the part number: [`SharedRef::NAME`].
    pub name: String,
    /// Size of the value.
    pub bytes: u64,
    /// What all parts take together where each is packed; none: they are stored as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed_bytes: Option<u64>,
}

impl SharedRef {
    /// Its name: a batch has at most one.
    pub const NAME: &'static str = "s";

    /// Of a value of so many bytes.
    pub fn new(bytes: u64, packed_bytes: Option<u64>) -> Self {
        Self { name: Self::NAME.to_owned(), bytes, packed_bytes }
    }

    /// How many keys hold it.
    pub fn parts(&self) -> usize {
        self.bytes.div_ceil(BLOB_PART_BYTES as u64) as usize
    }

    /// How many bytes of the value the part holds; 0 behind the last.
    pub fn part_bytes(&self, part: usize) -> usize {
        let from = (part as u64).saturating_mul(BLOB_PART_BYTES as u64);
        self.bytes.saturating_sub(from).min(BLOB_PART_BYTES as u64) as usize
    }

    /// How many bytes that part may take in Redis.
    pub fn stored_bytes_max(&self, part: usize) -> usize {
        let plain = self.part_bytes(part);
        if self.packed_bytes.is_some() { packing::packed_max(plain) } else { plain }
    }

    /// What all parts take in Redis.
    pub fn stored_bytes(&self) -> u64 {
        self.packed_bytes.unwrap_or(self.bytes)
    }

    /// Refuses any other name, and a size of nothing or over the limit.
    pub fn check(&self) -> Result<(), CodecError> {
        if self.name != Self::NAME {
            return Err(CodecError::Malformed("a batch's shared input is called 's'"));
        }
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        codec::check_size("the shared input", size(self.bytes), size(SHARED_BYTES_MAX))?;
        if self.bytes == 0 || self.packed_bytes == Some(0) {
            return Err(CodecError::Malformed("shared input is at least one byte"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: u64 = BLOB_PART_BYTES as u64;

    #[test]
    fn parts_add_up_to_the_whole() {
        for bytes in [1, PART - 1, PART, PART + 1, 5 * PART + 7, SHARED_BYTES_MAX] {
            let shared = SharedRef::new(bytes, None);
            let sum: u64 = (0..shared.parts()).map(|part| shared.part_bytes(part) as u64).sum();
            assert_eq!(sum, bytes);
            assert_eq!(shared.part_bytes(shared.parts()), 0);
            assert!(shared.check().is_ok());
        }
        assert_eq!(SharedRef::new(SHARED_BYTES_MAX, None).parts(), 512);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(SharedRef::new(0, None).check().is_err());
        assert!(SharedRef::new(1, Some(0)).check().is_err());
        assert!(SharedRef { name: "a0".into(), ..SharedRef::new(1, None) }.check().is_err());
        let error = SharedRef::new(SHARED_BYTES_MAX + 1, None).check().unwrap_err();
        let said = "the shared input is 4294967297 bytes, the limit is 4294967296; ";
        assert!(error.to_string().starts_with(said), "{error}");
        assert!(SharedRef::new(u64::MAX, None).check().is_err());
    }
}
