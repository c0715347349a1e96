//! A suspect: a message whose consumer died under it, until somebody judges it.
//!
//! Stored as `at_ms` (u64, big-endian), the length of the certificate (u32, big-endian), the
//! certificate (MessagePack), then the message. The script `reclaim` writes it, `tick` reads the time.

use crate::certificate::Certificate;
use crate::codec::{self, CodecError};
use crate::message::Message;

/// Bytes before the certificate.
pub const SUSPECT_FIXED_BYTES: usize = 12;

/// A suspect, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    /// When the message became a suspect, epoch ms by Redis.
    pub at_ms: u64,
    /// What is known of the death.
    pub certificate: Certificate,
    /// The message.
    pub message: Message,
}

impl Suspect {
    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let (at_ms, certificate, message) = split(bytes)?;
        Ok(Self { at_ms, certificate: codec::decode(certificate)?, message: Message::parse(message)? })
    }
}

/// The message of a stored suspect or dead letter, not looked at.
pub fn message_of(bytes: &[u8]) -> Result<&[u8], CodecError> {
    Ok(split(bytes)?.2)
}

/// Cuts a stored suspect or dead letter into time, certificate and message.
pub(crate) fn split(bytes: &[u8]) -> Result<(u64, &[u8], &[u8]), CodecError> {
    const SHORT: CodecError = CodecError::Malformed("a suspect or dead letter is cut short");
    let (at_ms, rest) = bytes.split_first_chunk::<8>().ok_or(SHORT)?;
    let (len, rest) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
    let len = u32::from_be_bytes(*len) as usize;
    if len > rest.len() {
        return Err(SHORT);
    }
    let (certificate, message) = rest.split_at(len);
    Ok((u64::from_be_bytes(*at_ms), certificate, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Suspect::parse(&bytes);
        }
    }
}
