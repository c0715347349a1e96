//! What all tasks of a batch share, as the caller gave it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use gristmill_shared::codec;
use gristmill_shared::defaults::{BLOB_PART_BYTES, SHARED_BYTES_MAX};
use serde::Serialize;

use crate::error::ClientError;

/// Data for [`SubmitOptions::shared`](crate::SubmitOptions::shared): one MessagePack value. Cheap to clone.
#[derive(Clone)]
pub struct SharedData {
    /// What stands before `bytes`: nothing, or the header of binary data.
    head: Vec<u8>,
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    /// Why it cannot be shared.
    fault: Option<String>,
}

impl SharedData {
    /// Encodes a value, once.
    pub fn of(data: &(impl Serialize + ?Sized)) -> Self {
        match codec::encode(data) {
            Ok(bytes) => Self::raw(bytes),
            Err(error) => Self { fault: Some(error.to_string()), ..Self::raw(Vec::new()) },
        }
    }

    /// Binary data, which is not copied.
    pub fn bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        match codec::bin_header(bytes.as_ref().len()) {
            Ok(head) => Self { head, ..Self::raw(bytes) },
            Err(_) => Self::raw(bytes),
        }
    }

    /// A value that is MessagePack already.
    pub fn raw(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self { head: Vec::new(), bytes: Arc::new(bytes), fault: None }
    }

    /// Size of the value.
    pub fn size(&self) -> u64 {
        (self.head.len() + self.body().len()) as u64
    }

    /// Refuses what cannot be shared.
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        let size = self.size();
        match &self.fault {
            Some(fault) => Err(ClientError::Codec(format!("the shared input cannot be encoded: {fault}"))),
            None if size > SHARED_BYTES_MAX => {
                Err(ClientError::Codec(format!("the shared input is {size} bytes, the limit is {SHARED_BYTES_MAX}")))
            }
            None if size == 0 => Err(ClientError::Codec("the shared input is no MessagePack: it is empty".to_owned())),
            None => Ok(()),
        }
    }

    /// One part of it; only the first may have to be copied.
    pub(crate) fn part(&self, part: usize) -> Cow<'_, [u8]> {
        let (head, body) = (self.head.as_slice(), self.body());
        let from = part.saturating_mul(BLOB_PART_BYTES);
        let cut = |at: usize| at.saturating_sub(head.len()).min(body.len());
        let piece = &body[cut(from)..cut(from + BLOB_PART_BYTES)];
        if part == 0 && !head.is_empty() { Cow::Owned([head, piece].concat()) } else { Cow::Borrowed(piece) }
    }

    /// All of it: the header of binary data, or nothing, and what follows.
    pub(crate) fn pieces(&self) -> (&[u8], &[u8]) {
        (&self.head, self.body())
    }

    fn body(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }
}

impl PartialEq for SharedData {
    fn eq(&self, other: &Self) -> bool {
        let same = std::ptr::eq(self.body(), other.body()) || self.body() == other.body();
        same && self.head == other.head && self.fault == other.fault
    }
}

impl fmt::Debug for SharedData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedData({} bytes)", self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_shared::serde_bytes::Bytes;

    fn parts(data: &SharedData) -> Vec<u8> {
        let count = (data.size() as usize).div_ceil(BLOB_PART_BYTES);
        let parts: Vec<_> = (0..count).map(|part| data.part(part)).collect();
        assert!(parts.iter().rev().skip(1).all(|part| part.len() == BLOB_PART_BYTES));
        assert!(data.part(count).is_empty());
        parts.concat()
    }

    #[test]
    fn bytes_are_encoded_without_a_copy() {
        for size in [0, 1, 300, BLOB_PART_BYTES - 5, BLOB_PART_BYTES, BLOB_PART_BYTES + 1, 2 * BLOB_PART_BYTES - 4] {
            let bytes: Vec<u8> = (0..size).map(|n| (n / 1000) as u8).collect();
            let whole = codec::encode(Bytes::new(&bytes)).unwrap();
            let at = bytes.as_ptr();
            let data = SharedData::bytes(bytes);
            assert_eq!(data.body().as_ptr(), at);
            assert_eq!((data.size(), parts(&data) == whole), (whole.len() as u64, true), "{size}");
            assert_eq!(data, SharedData::bytes(data.clone().body().to_vec()));
            data.check().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_shared_is_said() {
        struct Unfit;
        impl Serialize for Unfit {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("it has no length"))
            }
        }
        let error = SharedData::of(&Unfit).check().unwrap_err().to_string();
        assert!(error.contains("cannot be encoded") && error.contains("it has no length"), "{error}");
        let error = SharedData::raw(Vec::new()).check().unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
    }
}
