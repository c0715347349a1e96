//! A dead letter: a task that ended badly, kept for inspection and re-run.
//!
//! Stored as a suspect is: `at_ms`, length, a MessagePack map ([`Epitaph`]), then the message of the
//! one task (or, with reason `unreadable`, whatever stood in the list).

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::message::Message;
use crate::outcome::{Failure, OutcomeKind};
use crate::suspect;

/// Why a task is dead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epitaph {
    /// The outcome's word, or `unreadable`.
    pub reason: String,
    /// The kernel, where it could be read.
    #[serde(default)]
    pub kernel: String,
    /// What is told of the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Epitaph {
    /// For a task that ended as `kind`.
    pub fn new(kind: OutcomeKind, kernel: &str, failure: &Failure) -> Self {
        Self { reason: kind.as_str().to_owned(), kernel: kernel.to_owned(), failure: Some(failure.clone()) }
    }

    /// Which counter of the batch the end was counted in; none for `unreadable`.
    pub fn kind(&self) -> Option<OutcomeKind> {
        OutcomeKind::ALL.into_iter().find(|kind| kind.as_str() == self.reason)
    }
}

/// A dead letter, read.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// When it was buried, epoch ms.
    pub at_ms: u64,
    /// Why.
    pub epitaph: Epitaph,
    /// The bytes of the message.
    pub message: Vec<u8>,
}

impl DeadLetter {
    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let (at_ms, epitaph, message) = suspect::split(bytes)?;
        Ok(Self { at_ms, epitaph: codec::decode(epitaph)?, message: message.to_vec() })
    }

    /// The message, if it has a readable header.
    pub fn message(&self) -> Result<Message, CodecError> {
        Message::parse(&self.message)
    }
}
