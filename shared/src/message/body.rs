//! The body: what only the kernel's process needs.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::header::{FLAG_BLOB, Header};
use super::shared_ref::SharedRef;
use crate::codec::{self, CodecError};
use crate::defaults::{BLOB_BYTES_MAX, BLOB_PART_BYTES, MESSAGE_TASKS_MAX};
use crate::history::EarlierEnd;

/// The body of a message, version 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// The kernel's name.
    pub kernel: String,
    /// One MessagePack value per task, wrapped as bytes; empty where `blob` is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<ByteBuf>,
    /// Where the arguments stand if they are too large for a message: a blob that holds the
    /// MessagePack array which `args` would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
    /// What all tasks of the batch share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedRef>,
    /// What differs from the kernel's own options.
    #[serde(default, skip_serializing_if = "TaskOptions::is_default")]
    pub options: TaskOptions,
    /// How the task ended before it was taken back from the dead letters, oldest first; only in a message
    /// of one task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<EarlierEnd>,
}

impl Body {
    pub(super) fn check(&self, header: &Header) -> Result<(), CodecError> {
        if (header.flags & FLAG_BLOB != 0) != self.blob.is_some() {
            return Err(CodecError::Malformed("the header's blob flag and the body disagree"));
        }
        if let Some(shared) = &self.shared {
            shared.check()?;
        }
        match &self.blob {
            Some(blob) => blob.check(),
            None if self.args.len() != header.count as usize => {
                Err(CodecError::Malformed("the body holds another number of arguments than the header's count"))
            }
            None => Ok(()),
        }
    }
}

/// Names a blob of the message's own batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// The part of the key between the batch and the part number: `a<n>` or
    /// `o<index>.<consumer>.<position>.<attempt>`.
    pub name: String,
    /// Size of the whole blob.
    pub bytes: u64,
}

impl BlobRef {
    /// How many keys hold the blob.
    pub fn parts(&self) -> usize {
        (self.bytes as usize).div_ceil(BLOB_PART_BYTES).max(1)
    }

    /// Refuses a name that could reach outside the batch's blobs, and a size over every limit.
    pub fn check(&self) -> Result<(), CodecError> {
        let character = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'.';
        if self.name.is_empty() || self.name.len() > 128 || !self.name.bytes().all(character) {
            return Err(CodecError::Malformed("a blob's name must be 1 to 128 characters of a-z, 0-9 and '.'"));
        }
        // A chunk's arguments share one blob, hence a few times the limit of a single argument.
        let limit = BLOB_BYTES_MAX + MESSAGE_TASKS_MAX as usize * 16;
        codec::check_size("blob", usize::try_from(self.bytes).unwrap_or(usize::MAX), limit)
    }
}

/// Options of a task; absent means: as the kernel declares, else the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskOptions {
    /// Attempts after the first that fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u16>,
    /// First back-off, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<u64>,
    /// Longest back-off, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_max_ms: Option<u64>,
    /// After this time the task is asked to end, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_time_limit_ms: Option<u64>,
    /// The process ends when a task runs longer than this, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_ms: Option<u64>,
    /// What the task may need: its process ends when it holds more, and a worker that has less does not start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Whether the output is dropped where it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_result: Option<bool>,
}

impl TaskOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
