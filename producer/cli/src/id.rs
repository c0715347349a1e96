//! A batch or one of its tasks, as it was typed.

use std::str::FromStr;

use gristmill::shared::{BatchId, TaskId};

/// What an id on the command line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// A batch.
    Batch(BatchId),
    /// A task.
    Task(TaskId),
}

impl Id {
    /// The batch that it is, or belongs to.
    pub fn batch(self) -> BatchId {
        match self {
            Self::Batch(batch) => batch,
            Self::Task(task) => task.batch,
        }
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(batch) = text.parse() {
            return Ok(Self::Batch(batch));
        }
        text.parse().map(Self::Task).map_err(|_| {
            let shown: String = text.chars().take(80).collect();
            format!("{shown:?} is no id: expected a batch (a UUID), or a task as <batch>.<index>")
        })
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Batch(batch) => batch.fmt(f),
            Self::Task(task) => task.fmt(f),
        }
    }
}
