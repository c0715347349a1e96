//! The pipes between the supervisor and its children.
//!
//! Every child has a control pipe from the supervisor: one byte per command, and end of file means that
//! the supervisor is gone. The agent has two more: reports of deaths come in as frames, and the
//! id of each report that was dealt with goes back. A report which is not acknowledged is sent
//! again to the agent's successor, so dealing with one twice must be harmless.

use gristmill_shared::codec::{self, CodecError};
use gristmill_shared::{Certificate, ConsumerId};
use serde::{Deserialize, Serialize};

/// Largest frame, bytes: far above any report.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an acknowledgement: the report's id, big-endian.
pub const ACK_BYTES: usize = 8;

/// What the supervisor tells a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Claim nothing more, finish what runs, leave. For the agent: leave now.
    Drain,
}

impl Command {
    /// The byte on the pipe.
    pub fn byte(self) -> u8 {
        match self {
            Self::Drain => b'D',
        }
    }

    /// Reads a byte from the pipe; none: a command of another version, to be ignored.
    pub fn from_byte(byte: u8) -> Option<Self> {
        (byte == b'D').then_some(Self::Drain)
    }
}

/// A consumer died: what the agent needs to take its messages back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Death {
    /// To be sent back when the reclaim is done.
    pub report_id: u64,
    /// The dead consumer, 32 hexadecimal digits; see [`Death::consumer`].
    consumer: String,
    /// Its place.
    pub place: usize,
    /// The task that ran, or that was ended but perhaps not settled: (position, item).
    pub running: Option<(u64, u32)>,
    /// We wanted it (drain, recycle, cancel, a limit that the I/O thread has settled): blame nobody.
    pub ordered: bool,
    /// What is known of the death.
    pub certificate: Certificate,
}

impl Death {
    /// A report.
    pub fn new(
        report_id: u64,
        consumer: ConsumerId,
        place: usize,
        running: Option<(u64, u32)>,
        ordered: bool,
        certificate: Certificate,
    ) -> Self {
        Self { report_id, consumer: consumer.to_string(), place, running, ordered, certificate }
    }

    /// The dead consumer.
    pub fn consumer(&self) -> Result<ConsumerId, gristmill_shared::ids::IdError> {
        self.consumer.parse()
    }

    /// The frame: length (u32, big-endian), then MessagePack.
    pub fn to_frame(&self) -> Result<Vec<u8>, CodecError> {
        let body = codec::encode(self)?;
        codec::check_size("a report of a death", body.len(), FRAME_BYTES_MAX)?;
        let mut frame = Vec::with_capacity(4 + body.len());
        frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
        frame.extend_from_slice(&body);
        Ok(frame)
    }
}

/// Puts frames together from whatever pieces a pipe delivers.
#[derive(Debug, Default)]
pub struct DeathReader {
    buffer: Vec<u8>,
}

impl DeathReader {
    /// Adds bytes that were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole report. After an error the pipe is of no more use.
    pub fn next(&mut self) -> Result<Option<Death>, CodecError> {
        let Some((len, rest)) = self.buffer.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_be_bytes(*len) as usize;
        codec::check_size("a report of a death", len, FRAME_BYTES_MAX)?;
        if rest.len() < len {
            return Ok(None);
        }
        let death = codec::decode(&rest[..len])?;
        self.buffer.drain(..4 + len);
        Ok(Some(death))
    }
}

/// Puts acknowledgements together from whatever pieces a pipe delivers.
#[derive(Debug, Default)]
pub struct AckReader {
    buffer: Vec<u8>,
}

impl AckReader {
    /// Adds bytes that were read and returns the ids that are complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u64> {
        self.buffer.extend_from_slice(bytes);
        let whole = self.buffer.len() / ACK_BYTES * ACK_BYTES;
        let ids = self.buffer[..whole].as_chunks::<ACK_BYTES>().0.iter().map(|id| u64::from_be_bytes(*id)).collect();
        self.buffer.drain(..whole);
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_shared::DeathCause;

    fn death(report_id: u64) -> Death {
        let consumer = ConsumerId::new();
        let certificate = Certificate::unseen(DeathCause::Crash, consumer.to_string(), "killed by SIGSEGV");
        Death::new(report_id, consumer, 3, Some((7, 2)), false, certificate)
    }

    #[test]
    fn frames_survive_any_cut() {
        let deaths = [death(1), death(2)];
        let bytes: Vec<u8> = deaths.iter().flat_map(|death| death.to_frame().unwrap()).collect();
        for cut in 0..bytes.len() {
            let mut reader = DeathReader::default();
            let mut seen = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                reader.push(piece);
                while let Some(death) = reader.next().unwrap() {
                    seen.push(death);
                }
            }
            assert_eq!(seen, deaths);
        }
    }

    #[test]
    fn an_impossible_length_is_an_error() {
        let mut reader = DeathReader::default();
        reader.push(&[0xff; 8]);
        assert!(reader.next().is_err());
    }

    #[test]
    fn acknowledgements_survive_any_cut() {
        let bytes = [1u64.to_be_bytes(), 300u64.to_be_bytes()].concat();
        for cut in 0..bytes.len() {
            let mut reader = AckReader::default();
            let mut ids = reader.push(&bytes[..cut]);
            ids.extend(reader.push(&bytes[cut..]));
            assert_eq!(ids, [1, 300]);
        }
    }
}
