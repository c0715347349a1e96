//! What a stream is about to deliver.

use std::collections::VecDeque;

use super::{Collected, ResultsError};
use crate::defaults::MESSAGE_TASKS_MAX;
use crate::events;
use crate::ids::TaskId;
use crate::outcome::{self, Outcome};
use crate::task_time::TaskTime;

/// Bytes of outcomes that one read aims at, and the most runs that it asks for.
pub(super) const PIECE_BYTES: usize = 1024 * 1024;
pub(super) const PIECE_RUNS: usize = 256;
/// Asked for before it is known how large the runs are; one has up to half a MiB.
pub(super) const PIECE_FIRST: usize = 8;

/// What [`Reader::output`](super::reader::Reader::output) found: nothing to read, or the bytes, or none of them.
pub(super) type Blob = Option<Option<Vec<u8>>>;

/// A settled run, as the list of runs names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) count: u64,
}

impl Run {
    /// Reads `<first> <count>`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (first, count) = text.split_once(' ')?;
        let run = Self { first: first.parse().ok()?, count: count.parse().ok()? };
        let sound =
            (1..=u64::from(MESSAGE_TASKS_MAX)).contains(&run.count) && run.first.checked_add(run.count).is_some();
        sound.then_some(run)
    }

    /// As the list of runs has it.
    pub(super) fn text(self) -> String {
        format!("{} {}", self.first, self.count)
    }

    /// Whether these stored bytes say that they hold so many outcomes.
    pub(super) fn fits(self, value: Option<&[u8]>) -> bool {
        let count = value.and_then(|bytes| bytes.first_chunk()).map(|count| u32::from_be_bytes(*count));
        count.map(u64::from) == Some(self.count)
    }

    pub(super) fn indices(self) -> std::ops::Range<u64> {
        self.first..self.first + self.count
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum Item {
    Outcome(u64, Outcome, TaskTime),
    /// The outcome was delivered to somebody and forgotten.
    Delivered(u64),
    /// What is stored makes no sense.
    Unreadable(u64, String),
    /// All items of this run came before this.
    EndOfRun(Run),
}

impl Item {
    /// What is delivered for its task.
    pub(super) fn collected(self, task: TaskId, blob: Blob) -> Result<Collected, ResultsError> {
        let (outcome, time) = match self {
            Self::Unreadable(_, why) => return Err(ResultsError::Unreadable { task, why }),
            Self::Delivered(_) | Self::EndOfRun(_) => return Ok(Collected::Delivered),
            Self::Outcome(_, outcome, time) => match blob {
                None => (outcome, time),
                Some(Some(value)) => (Outcome::Value(value), time),
                Some(None) => return Err(ResultsError::BlobGone(task)),
            },
        };
        tracing::debug!(event = events::RESULT_DELIVERED, %task, outcome = %outcome.kind(), "result delivered");
        Ok(Collected::Outcome(outcome, time))
    }
}

/// Appends the items of a run, whose stored bytes are `value`.
pub(super) fn append(items: &mut VecDeque<Item>, run: Run, value: Option<&[u8]>) {
    let Some(value) = value else {
        items.extend(run.indices().map(Item::Delivered));
        return;
    };
    match outcome::decode_timed_run(value) {
        Ok(outcomes) if outcomes.len() as u64 == run.count => {
            let timed = run.indices().zip(outcomes);
            items.extend(timed.map(|(index, (outcome, time))| Item::Outcome(index, outcome, time)));
            items.push_back(Item::EndOfRun(run));
        }
        Ok(outcomes) => {
            let why = format!("{} outcomes are stored for {} tasks", outcomes.len(), run.count);
            items.extend(run.indices().map(|index| Item::Unreadable(index, why.clone())));
        }
        Err(error) => {
            let why = error.to_string();
            items.extend(run.indices().map(|index| Item::Unreadable(index, why.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sound_runs_are_read() {
        assert_eq!(Run::parse("8192 64"), Some(Run { first: 8192, count: 64 }));
        for text in ["", "1", "1 0", "-1 1", "1 4097", "18446744073709551615 1", "1 2 3"] {
            assert_eq!(Run::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_run_of_another_length_is_unreadable() {
        let value = outcome::encode_run(&[Outcome::Value(vec![1])], &[]).unwrap();
        let mut items = VecDeque::new();
        append(&mut items, Run { first: 3, count: 2 }, Some(&value));
        assert!(matches!(&items.make_contiguous()[..], [Item::Unreadable(3, _), Item::Unreadable(4, _)]));
    }
}
