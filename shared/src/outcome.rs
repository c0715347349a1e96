//! How a task ended for good, and how the outcomes of a run are stored.
//!
//! A run is `count` (u32, big-endian), one status byte per task, one byte per task that tells how long it
//! ran ([`TaskTime`]), then a MessagePack array with one byte string per task: the MessagePack of the output, of a [`Failure`], or, where the status
//! carries [`STATUS_BLOB`], of the [`BlobRef`] of the output.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes as SerdeBytes};

use crate::codec::{self, CodecError};
use crate::defaults::MESSAGE_TASKS_MAX;
pub use crate::failure::Failure;
use crate::message::BlobRef;
use crate::task_time::TaskTime;

/// Added to the status byte of a task whose output stands in a blob.
pub const STATUS_BLOB: u8 = 0x80;

/// How a task ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The kernel returned a value.
    Succeeded = 0,
    /// The kernel returned an error or panicked, and no retry was left.
    Failed = 1,
    /// It ran longer than its time limit.
    TimedOut = 2,
    /// It needed more memory than it may have.
    OutOfMemory = 3,
    /// Somebody cancelled it.
    Cancelled = 4,
    /// It was not started in time.
    Expired = 5,
    /// Its process died under it, by itself, too often.
    Crashed = 6,
    /// Its machine disappeared under it too often.
    Lost = 7,
}

impl OutcomeKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [OutcomeKind; 8] = [
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::OutOfMemory,
        Self::Cancelled,
        Self::Expired,
        Self::Crashed,
        Self::Lost,
    ];

    /// The name of the counter field in a batch hash, and the word that the CLI prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::OutOfMemory => "out_of_memory",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Crashed => "crashed",
            Self::Lost => "lost",
        }
    }

    /// The low bits of a status byte.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads the low bits of a status byte.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether a task that ended so is kept as a dead letter.
    pub fn is_dead_letter(self) -> bool {
        !matches!(self, Self::Succeeded | Self::Cancelled | Self::Expired)
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The outcome of one task.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Succeeded; the MessagePack of the output. Empty, as no MessagePack is: the output was not kept.
    Value(Vec<u8>),
    /// Succeeded; the output stands in a blob of the batch.
    Blob(BlobRef),
    /// Any other end.
    Bad(OutcomeKind, Failure),
}

impl Outcome {
    /// How the task ended.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Value(_) | Self::Blob(_) => OutcomeKind::Succeeded,
            Self::Bad(kind, _) => *kind,
        }
    }

    fn status(&self) -> u8 {
        match self {
            Self::Blob(_) => STATUS_BLOB | OutcomeKind::Succeeded.code(),
            other => other.kind().code(),
        }
    }

    fn payload(&self) -> Result<ByteBuf, CodecError> {
        Ok(ByteBuf::from(match self {
            Self::Value(value) => return Ok(ByteBuf::from(value.clone())),
            Self::Blob(blob) => codec::encode(blob)?,
            Self::Bad(_, failure) => codec::encode(failure)?,
        }))
    }

    fn read(status: u8, payload: &[u8]) -> Result<Self, CodecError> {
        let kind = OutcomeKind::from_code(status & !STATUS_BLOB)
            .ok_or(CodecError::Malformed("an outcome has an unknown status"))?;
        match (kind, status & STATUS_BLOB != 0) {
            (OutcomeKind::Succeeded, false) => Ok(Self::Value(payload.to_vec())),
            (OutcomeKind::Succeeded, true) => {
                let blob: BlobRef = codec::decode(payload)?;
                blob.check()?;
                Ok(Self::Blob(blob))
            }
            (_, true) => Err(CodecError::Malformed("only an output can stand in a blob")),
            (kind, false) => Ok(Self::Bad(kind, codec::decode(payload)?)),
        }
    }
}

/// Writes the stored form of a run. `times` tells how long each task ran; where it is too short, that is unknown.
pub fn encode_run(outcomes: &[Outcome], times: &[TaskTime]) -> Result<Vec<u8>, CodecError> {
    let payloads = outcomes.iter().map(Outcome::payload).collect::<Result<Vec<_>, _>>()?;
    let size = payloads.iter().map(|p| p.len() + 5).sum::<usize>();
    let mut bytes = Vec::with_capacity(9 + 2 * outcomes.len() + size);
    bytes.extend_from_slice(&(outcomes.len() as u32).to_be_bytes());
    bytes.extend(outcomes.iter().map(Outcome::status));
    bytes.extend((0..outcomes.len()).map(|item| times.get(item).copied().unwrap_or_default().byte()));
    rmp_serde::encode::write_named(&mut bytes, &payloads)?;
    Ok(bytes)
}

/// Reads the outcomes of a run in its stored form.
pub fn decode_run(bytes: &[u8]) -> Result<Vec<Outcome>, CodecError> {
    Ok(decode_timed_run(bytes)?.into_iter().map(|(outcome, _)| outcome).collect())
}

/// Reads the stored form of a run: how each task ended, and how long it ran.
pub fn decode_timed_run(bytes: &[u8]) -> Result<Vec<(Outcome, TaskTime)>, CodecError> {
    let (count, rest) = bytes.split_first_chunk::<4>().ok_or(CodecError::Malformed("a run is cut short"))?;
    let count = u32::from_be_bytes(*count);
    if count == 0 || count > MESSAGE_TASKS_MAX || rest.len() < 2 * count as usize {
        return Err(CodecError::Malformed("a run announces an impossible number of outcomes"));
    }
    let (statuses, rest) = rest.split_at(count as usize);
    let (times, payloads) = rest.split_at(count as usize);
    let payloads: Vec<&SerdeBytes> = rmp_serde::from_slice(payloads)?;
    if payloads.len() != statuses.len() {
        return Err(CodecError::Malformed("a run has another number of payloads than statuses"));
    }
    let read = |((&status, &time), payload): ((&u8, &u8), &SerdeBytes)| {
        Ok((Outcome::read(status, payload)?, TaskTime::from_byte(time)))
    };
    statuses.iter().zip(times).zip(payloads).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_run_survives_its_encoding() {
        let run = vec![
            Outcome::Value(vec![5]),
            Outcome::Bad(OutcomeKind::Failed, Failure::new("no such file", 2)),
            Outcome::Blob(BlobRef { name: "o7.c.1.1".into(), bytes: 1 << 20 }),
        ];
        let times = [TaskTime::from_byte(7), TaskTime::UNKNOWN];
        let bytes = encode_run(&run, &times).unwrap();
        assert_eq!(decode_run(&bytes).unwrap(), run);
        let read: Vec<_> = decode_timed_run(&bytes).unwrap().into_iter().map(|(_, time)| time.byte()).collect();
        assert_eq!(read, [7, 0, 0]);
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode_run(&bytes);
        }
    }
}
