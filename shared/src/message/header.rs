//! The header: fixed offsets first, the queue last, the same layout for ever.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 2 | magic, `GM` |
//! | 2 | 1 | version of the body |
//! | 3 | 1 | flags |
//! | 4 | 1 | lane: 0 high, 1 normal, 2 low |
//! | 5 | 2 | attempt, from 1 |
//! | 7 | 1 | crashes |
//! | 8 | 1 | losses |
//! | 9 | 8 | expires_at_ms |
//! | 17 | 16 | batch id |
//! | 33 | 8 | first index |
//! | 41 | 4 | count |
//! | 45 | 4 | blob offset |
//! | 49 | 1 | length of the queue's name |
//! | 50 | 1–64 | queue |
//!
//! Integers are unsigned, big-endian, and at most 2^53, so that Lua's numbers hold them exactly.

use crate::codec::CodecError;
use crate::defaults::{INTEGER_MAX, MESSAGE_TASKS_MAX};
use crate::ids::BatchId;
use crate::names::QueueName;

/// The version of the body that this build writes and reads.
pub const BODY_VERSION: u8 = 1;
/// Bytes of the header before the queue's name.
pub const HEADER_FIXED_BYTES: usize = 50;
/// Flag: a batch of one; its outcome stands in the batch hash.
pub const FLAG_SINGLE: u8 = 1;
/// Flag: the arguments stand in a blob.
pub const FLAG_BLOB: u8 = 2;

const MAGIC: &[u8; 2] = b"GM";

/// Which of a queue's three lists a message belongs to. Strict: a lower lane waits for a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub enum Lane {
    /// Before everything else.
    High,
    /// Where messages go by default.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Lane {
    /// All lanes, in the order in which they are emptied.
    pub const ALL: [Lane; 3] = [Lane::High, Lane::Normal, Lane::Low];

    /// The byte of the header, which is also the place in [`Lane::ALL`].
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads the byte of the header.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// The header of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Version of the body.
    pub version: u8,
    /// [`FLAG_SINGLE`], [`FLAG_BLOB`].
    pub flags: u8,
    /// The lane that it goes back to.
    pub lane: Lane,
    /// Which attempt this is, from 1.
    pub attempt: u16,
    /// Crashes charged so far.
    pub crashes: u8,
    /// Losses charged so far.
    pub losses: u8,
    /// When it expires, epoch ms; never moves.
    pub expires_at_ms: u64,
    /// The batch.
    pub batch: BatchId,
    /// Index of the first task.
    pub first: u64,
    /// Number of tasks, at least 1.
    pub count: u32,
    /// Index of the first task's argument inside the argument blob.
    pub blob_offset: u32,
    /// The queue.
    pub queue: QueueName,
}

impl Header {
    /// Whether the batch consists of this one task.
    pub fn is_single(&self) -> bool {
        self.flags & FLAG_SINGLE != 0
    }

    /// The indices of the tasks.
    pub fn indices(&self) -> std::ops::Range<u64> {
        self.first..self.first + u64::from(self.count)
    }

    /// Writes the header.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        self.check()?;
        let queue = self.queue.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(HEADER_FIXED_BYTES + queue.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[self.version, self.flags, self.lane.code()]);
        bytes.extend_from_slice(&self.attempt.to_be_bytes());
        bytes.extend_from_slice(&[self.crashes, self.losses]);
        bytes.extend_from_slice(&self.expires_at_ms.to_be_bytes());
        bytes.extend_from_slice(self.batch.as_bytes());
        bytes.extend_from_slice(&self.first.to_be_bytes());
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes.extend_from_slice(&self.blob_offset.to_be_bytes());
        bytes.push(queue.len() as u8);
        bytes.extend_from_slice(queue);
        Ok(bytes)
    }

    /// Reads a header and returns it with the bytes of the body.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        let (fixed, rest) = bytes
            .split_first_chunk::<HEADER_FIXED_BYTES>()
            .ok_or(CodecError::Malformed("the message is shorter than a header"))?;
        if &fixed[..2] != MAGIC {
            return Err(CodecError::Malformed("the message does not begin with 'GM'"));
        }
        let queue_len = usize::from(fixed[49]);
        if rest.len() < queue_len {
            return Err(CodecError::Malformed("the message ends inside the queue's name"));
        }
        let (queue, body) = rest.split_at(queue_len);
        let queue = std::str::from_utf8(queue)
            .ok()
            .and_then(|queue| QueueName::new(queue).ok())
            .ok_or(CodecError::Malformed("the header holds no valid queue name"))?;
        let header = Self {
            version: fixed[2],
            flags: fixed[3],
            lane: Lane::from_code(fixed[4]).ok_or(CodecError::Malformed("the header names no known lane"))?,
            attempt: u16::from_be_bytes(field(fixed, 5)),
            crashes: fixed[7],
            losses: fixed[8],
            expires_at_ms: u64::from_be_bytes(field(fixed, 9)),
            batch: BatchId::from_bytes(field(fixed, 17)),
            first: u64::from_be_bytes(field(fixed, 33)),
            count: u32::from_be_bytes(field(fixed, 41)),
            blob_offset: u32::from_be_bytes(field(fixed, 45)),
            queue,
        };
        header.check()?;
        Ok((header, body))
    }

    fn check(&self) -> Result<(), CodecError> {
        if self.count == 0 || self.count > MESSAGE_TASKS_MAX {
            return Err(CodecError::Malformed("the count of a message must be 1 to 4096"));
        }
        if self.attempt == 0 {
            return Err(CodecError::Malformed("attempts count from 1"));
        }
        if self.expires_at_ms > INTEGER_MAX || self.first > INTEGER_MAX - u64::from(MESSAGE_TASKS_MAX) {
            return Err(CodecError::Malformed("an integer of the header is above 2^53"));
        }
        if self.is_single() && (self.first != 0 || self.count != 1) {
            return Err(CodecError::Malformed("a batch of one holds only the task 0"));
        }
        Ok(())
    }
}

/// `N` bytes at `offset`; the caller's offsets are the constants of the layout.
fn field<const N: usize>(fixed: &[u8; HEADER_FIXED_BYTES], offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&fixed[offset..offset + N]);
    bytes
}
