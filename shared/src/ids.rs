//! Identities: batches, tasks and consumer incarnations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A text that is not an id of the kind that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind} (expected {expected})")]
pub struct IdError {
    kind: &'static str,
    expected: &'static str,
    text: String,
}

/// The id of one submission: a UUIDv7, so that ids sort by the time of submission.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(Uuid);

impl BatchId {
    /// A new id from the clock and the operating system's random numbers.
    #[expect(clippy::new_without_default, reason = "an id that differs at each call is no default value")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id that stands in a message header, 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes that stand in a message header.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The task of this batch with the given index.
    pub fn task(self, index: u64) -> TaskId {
        TaskId { batch: self, index }
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BatchId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError { kind: "batch id", expected: "a UUID", text: shorten(text) };
        // Only the hyphenated form: an id is also part of a key, where two spellings would be two keys.
        if text.len() != 36 {
            return Err(error());
        }
        let uuid = Uuid::try_parse(text).map_err(|_| error())?;
        Ok(Self(uuid))
    }
}

/// The id of one task, printed `<batch>.<index>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The batch that the task belongs to.
    pub batch: BatchId,
    /// Its place in the batch, from 0.
    pub index: u64,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.batch, self.index)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError { kind: "task id", expected: "<batch>.<index>", text: shorten(text) };
        let (batch, index) = text.rsplit_once('.').ok_or_else(error)?;
        let batch = batch.parse().map_err(|_| error())?;
        if !index.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        let index = index.parse().map_err(|_| error())?;
        Ok(Self { batch, index })
    }
}

/// One incarnation of a consumer process. Never reused: a successor in the same slot has a new id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(Uuid);

impl ConsumerId {
    /// A new id.
    #[expect(clippy::new_without_default, reason = "an id that differs at each call is no default value")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Puts an id together from the two halves that a status slot holds.
    pub fn from_halves(high: u64, low: u64) -> Self {
        Self(Uuid::from_u64_pair(high, low))
    }

    /// The two halves, for a status slot.
    pub fn halves(self) -> (u64, u64) {
        self.0.as_u64_pair()
    }
}

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

impl fmt::Debug for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ConsumerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError { kind: "consumer id", expected: "32 hexadecimal digits", text: shorten(text) };
        if text.len() != 32 {
            return Err(error());
        }
        Uuid::try_parse(text).map(Self).map_err(|_| error())
    }
}

/// Ids are stored as their text, also in formats that know numbers and bytes: so they can be searched for.
macro_rules! serde_as_text {
    ($($id:ident)*) => {$(
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(BatchId TaskId);

/// Keeps an error message readable whatever was typed.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_printing() {
        let task = BatchId::new().task(7);
        assert_eq!(task.to_string().parse(), Ok(task));
        let consumer = ConsumerId::new();
        assert_eq!(consumer.to_string().parse(), Ok(consumer));
        let (high, low) = consumer.halves();
        assert_eq!(ConsumerId::from_halves(high, low), consumer);
    }

    #[test]
    fn ids_survive_being_stored() {
        let task = BatchId::new().task(7);
        let json = serde_json::to_string(&(task, task.batch)).unwrap();
        assert_eq!(json, format!(r#"["{task}","{}"]"#, task.batch));
        assert_eq!(serde_json::from_str::<(TaskId, BatchId)>(&json).unwrap(), (task, task.batch));
        assert!(serde_json::from_str::<TaskId>(r#""x.1""#).unwrap_err().to_string().contains("is not a task id"));
    }

    #[test]
    fn rubbish_is_refused_with_the_value_in_the_message() {
        let error = "x.1".parse::<TaskId>().unwrap_err();
        assert_eq!(error.to_string(), r#""x.1" is not a task id (expected <batch>.<index>)"#);
        let batch = BatchId::new();
        for text in [format!("{batch}.-1"), format!("{batch}.+1"), format!("{batch}."), batch.to_string()] {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
    }
}
