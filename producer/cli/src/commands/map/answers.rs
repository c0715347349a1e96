//! What came of the tasks, in the order in which it is printed.

use std::sync::Arc;

use gristmill::{BatchId, ClientError, MapHandle, Summary, TaskError, Unordered};

use crate::input::Findings;
use crate::resume::{Answered, EndedRows};

/// Results of the rows that ended in earlier batches, and of those that run.
pub struct Answers {
    outcomes: Outcomes,
    ended: EndedRows,
    findings: Arc<Findings>,
    batch: BatchId,
    /// Results of the batch that were given.
    given: u64,
    held_back_from: Option<u64>,
}

/// Results in either order.
enum Outcomes {
    Ordered {
        handle: MapHandle<Vec<u8>>,
        next: u64,
    },
    Unordered(Unordered<Vec<u8>>),
    /// Parted from.
    Left,
}

impl Answers {
    pub fn new(handle: MapHandle<Vec<u8>>, unordered: bool, ended: EndedRows, findings: Arc<Findings>) -> Self {
        let batch = handle.id();
        let outcomes =
            if unordered { Outcomes::Unordered(handle.unordered()) } else { Outcomes::Ordered { handle, next: 0 } };
        Self { outcomes, ended, findings, batch, given: 0, held_back_from: None }
    }

    /// The next one; none after the last. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Result<Answered, ClientError>> {
        if self.ended.first().is_some_and(|row| self.is_turn_of(row)) {
            return self.ended.next().await.transpose();
        }
        let (index, result) = self.outcomes.next().await?;
        let result = match result {
            Err(TaskError::Client(error)) => return Some(Err(error)),
            result => result,
        };
        self.given += 1;
        let kept = self.findings.take_kept(index).unwrap_or_default();
        Some(Ok(Answered { row: self.findings.row_of(index), task: self.batch.task(index), result, kept }))
    }

    /// Whether this row comes before the next one of the batch.
    fn is_turn_of(&self, row: u64) -> bool {
        match &self.outcomes {
            Outcomes::Ordered { next, .. } => row < self.findings.row_of(*next),
            Outcomes::Unordered(_) => true,
            Outcomes::Left => false,
        }
    }

    /// All results that were given are in the output, up to the first that was held back.
    pub fn acknowledge(&self) {
        let safe = self.held_back_from.unwrap_or(self.given);
        match &self.outcomes {
            Outcomes::Ordered { handle, .. } => handle.acknowledge(safe),
            Outcomes::Unordered(handle) => handle.acknowledge(safe),
            Outcomes::Left => {}
        }
    }

    /// The result that was given last is not printed, and stays in Redis; in order so do all after it.
    pub fn hold_back(&mut self) {
        if self.is_ordered() {
            self.held_back_from.get_or_insert(self.given.saturating_sub(1));
        }
    }

    pub fn is_ordered(&self) -> bool {
        matches!(self.outcomes, Outcomes::Ordered { .. })
    }

    pub fn summary(&self) -> Option<Summary> {
        match &self.outcomes {
            Outcomes::Ordered { handle, .. } => Some(handle.summary()),
            Outcomes::Unordered(handle) => Some(handle.summary()),
            Outcomes::Left => None,
        }
    }

    pub async fn cancel(&self) -> Result<(), ClientError> {
        match &self.outcomes {
            Outcomes::Ordered { handle, .. } => handle.cancel().await,
            Outcomes::Unordered(handle) => handle.cancel().await,
            Outcomes::Left => Ok(()),
        }
    }

    pub async fn leave(&mut self) -> Result<(), ClientError> {
        match std::mem::replace(&mut self.outcomes, Outcomes::Left) {
            Outcomes::Ordered { handle, .. } => handle.leave().await.map(drop),
            Outcomes::Unordered(handle) => handle.leave().await.map(drop),
            Outcomes::Left => Ok(()),
        }
    }

    /// All has come and is acknowledged: waits until Redis has forgotten it.
    pub async fn close(&mut self) {
        match std::mem::replace(&mut self.outcomes, Outcomes::Left) {
            Outcomes::Ordered { handle, .. } => handle.close().await,
            Outcomes::Unordered(handle) => handle.close().await,
            Outcomes::Left => {}
        }
    }
}

impl Outcomes {
    async fn next(&mut self) -> Option<(u64, Result<Vec<u8>, TaskError>)> {
        match self {
            Self::Ordered { handle, next } => {
                let outcome = handle.next().await?;
                *next += 1;
                Some((*next - 1, outcome))
            }
            Self::Unordered(handle) => handle.next().await,
            Self::Left => None,
        }
    }
}
