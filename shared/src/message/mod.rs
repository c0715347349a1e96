//! The message: what stands in a list. A binary header that scripts can read, then a MessagePack body.

mod body;
mod header;
mod shared_ref;

pub use body::{BlobRef, Body, TaskOptions};
pub use header::{BODY_VERSION, FLAG_BLOB, FLAG_SINGLE, HEADER_FIXED_BYTES, Header, Lane};
pub use shared_ref::SharedRef;

use std::ops::Range;

use crate::codec::{self, CodecError};
use crate::defaults::MESSAGE_BYTES_MAX;
use crate::ids::TaskId;

/// A message whose header was read; the body stays bytes until somebody needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The header.
    pub header: Header,
    /// The body, MessagePack of [`Body`] if `header.version` is [`BODY_VERSION`].
    pub body: Vec<u8>,
}

impl Message {
    /// Puts a message together from a header and a body.
    pub fn new(header: Header, body: &Body) -> Result<Self, CodecError> {
        Ok(Self { header, body: codec::encode(body)? })
    }

    /// Reads the header of a message; the body is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::check_size("message", bytes.len(), MESSAGE_BYTES_MAX)?;
        let (header, body) = Header::parse(bytes)?;
        Ok(Self { header, body: body.to_vec() })
    }

    /// Reads the body. Fails for a body of another version, or one that does not fit its header.
    pub fn read_body(&self) -> Result<Body, CodecError> {
        if self.header.version != BODY_VERSION {
            return Err(CodecError::Malformed("the body is of a version that this build does not know"));
        }
        let body: Body = codec::decode(&self.body)?;
        body.check(&self.header)?;
        Ok(body)
    }

    /// The bytes that stand in the list. Fails above 128 KiB.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = self.header.encode()?;
        bytes.extend_from_slice(&self.body);
        codec::check_size("message", bytes.len(), MESSAGE_BYTES_MAX)?;
        Ok(bytes)
    }

    /// The id of the task at `item` of this message (0 is its first).
    pub fn task(&self, item: u32) -> TaskId {
        self.header.batch.task(self.header.first + u64::from(item))
    }

    /// The message that holds only the tasks `items` of this one; `body` is this message's own, read.
    ///
    /// Arguments in a blob stay where they are: only the offset into it moves.
    pub fn slice(&self, body: &Body, items: Range<u32>) -> Result<Self, CodecError> {
        if items.start >= items.end || items.end > self.header.count {
            return Err(CodecError::Malformed("a slice of a message must hold at least one of its tasks"));
        }
        let mut header = self.header.clone();
        header.first += u64::from(items.start);
        header.count = items.end - items.start;
        if body.blob.is_some() {
            header.blob_offset += items.start;
            return Ok(Self { header, body: self.body.clone() });
        }
        let args = body.args[items.start as usize..items.end as usize].to_vec();
        Self::new(header, &Body { args, ..body.clone() })
    }
}

#[cfg(test)]
mod tests;
