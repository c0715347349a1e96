//! What the reader of the input tells, beside the tasks.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Format, count};

/// A row that is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// How many tasks stand before it.
    pub tasks_before: u64,
    /// How many rows stand before it.
    pub row: u64,
    /// Where it is, in words.
    pub place: String,
    /// What is wrong with it.
    pub message: String,
    /// The row as it stands in the input, if somebody wants it.
    pub source: Option<Vec<u8>>,
}

/// What is kept of a row until its task is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The row as it stands in the input, line end included.
    pub source: Option<Box<[u8]>>,
    /// The MessagePack of its arguments.
    pub args: Option<Box<[u8]>>,
}

/// What the reader found that are no tasks, and what it keeps of those that are.
#[derive(Debug, Default)]
pub struct Findings {
    state: Mutex<State>,
    /// Reading stopped at a bad row.
    pub stopped: Notify,
    /// Nobody wants more of it.
    pub(super) halt: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Bad rows that nobody took yet.
    pub bad: VecDeque<BadRow>,
    /// Where bad rows stand: tasks before them, and how many there are up to there.
    pub places: Vec<(u64, u64)>,
    pub stopped_at: Option<BadRow>,
    pub failed: Option<String>,
    pub tasks: u64,
    /// Rows of the whole input, once that is known.
    pub rows: Option<u64>,
    pub kept: BTreeMap<u64, Kept>,
    /// The first line of a file with a header.
    pub header: Option<Vec<u8>>,
}

impl Findings {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next bad row that stands before the task `index`.
    pub fn take_bad_before(&self, index: u64) -> Option<BadRow> {
        self.state().bad.pop_front_if(|bad| bad.tasks_before <= index)
    }

    /// The same before a row.
    pub fn take_bad_before_row(&self, row: u64) -> Option<BadRow> {
        self.state().bad.pop_front_if(|bad| bad.row < row)
    }

    /// The place of the row, from 0, which became the task `index`.
    pub fn row_of(&self, index: u64) -> u64 {
        let state = self.state();
        let before = state.places.partition_point(|(tasks_before, _)| *tasks_before <= index);
        index + before.checked_sub(1).map_or(0, |last| state.places[last].1)
    }

    /// Takes what was kept of the task's row.
    pub fn take_kept(&self, index: u64) -> Option<Kept> {
        self.state().kept.remove(&index)
    }

    /// Takes what was kept of the first row that was not taken yet, and its task.
    pub fn take_first_kept(&self) -> Option<(u64, Kept)> {
        self.state().kept.pop_first()
    }

    /// The first line of a file with a header.
    pub fn header(&self) -> Option<Vec<u8>> {
        self.state().header.clone()
    }

    /// The bad row that ended the reading.
    pub fn stopped_at(&self) -> Option<BadRow> {
        self.state().stopped_at.clone()
    }

    /// How many rows the input has, once that is known.
    pub fn rows(&self) -> Option<u64> {
        self.state().rows
    }

    /// Counts the rows of a file beforehand, for people who wait.
    pub fn count_ahead(self: &Arc<Self>, file: File, format: Format) {
        let findings = self.clone();
        std::thread::spawn(move || {
            // A file that cannot be read is the business of whoever reads it for its tasks.
            if let Ok(rows) = count(file, format) {
                findings.state().rows.get_or_insert(rows);
            }
        });
    }

    /// Why the input could not be read to its end.
    pub fn failed(&self) -> Option<String> {
        self.state().failed.clone()
    }

    /// Ends the reading, soon.
    pub fn halt(&self) {
        self.halt.notify_one();
    }
}
