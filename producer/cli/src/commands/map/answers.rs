//! What came of the tasks, in the order in which it is printed.

use std::sync::Arc;

use gristmill::{BatchId, ClientError, MapHandle, Summary};

use crate::input::Findings;
use crate::outcomes::Outcomes;
use crate::resume::{Answered, EndedRows};

/// Results of the rows that ended in earlier batches, and of those that run.
pub struct Answers {
    /// None: parted from.
    outcomes: Option<Outcomes>,
    ended: EndedRows,
    findings: Arc<Findings>,
    batch: BatchId,
    /// Results of the batch that were given.
    given: u64,
    held_back_from: Option<u64>,
}

impl Answers {
    pub fn new(handle: MapHandle<Vec<u8>>, unordered: bool, ended: EndedRows, findings: Arc<Findings>) -> Self {
        let batch = handle.id();
        let outcomes = Some(Outcomes::of(handle, unordered));
        Self { outcomes, ended, findings, batch, given: 0, held_back_from: None }
    }

    /// The next one; none after the last. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Result<Answered, ClientError>> {
        if self.ended.first().is_some_and(|row| self.is_turn_of(row)) {
            return self.ended.next().await.transpose();
        }
        let (index, result) = match self.outcomes.as_mut()?.next().await? {
            Ok(next) => next,
            Err(error) => return Some(Err(error)),
        };
        self.given += 1;
        let kept = self.findings.take_kept(index).unwrap_or_default();
        Some(Ok(Answered { row: self.findings.row_of(index), task: self.batch.task(index), result, kept }))
    }

    /// Whether this row comes before the next one of the batch.
    fn is_turn_of(&self, row: u64) -> bool {
        match &self.outcomes {
            Some(Outcomes::Ordered { next, .. }) => row < self.findings.row_of(*next),
            Some(Outcomes::Unordered(_)) => true,
            None => false,
        }
    }

    /// All results that were given are in the output, up to the first that was held back.
    pub fn acknowledge(&self) {
        let safe = self.held_back_from.unwrap_or(self.given);
        self.outcomes.iter().for_each(|outcomes| outcomes.acknowledge(safe));
    }

    /// The result that was given last is not printed, and stays in Redis; in order so do all after it.
    pub fn hold_back(&mut self) {
        if self.is_ordered() {
            self.held_back_from.get_or_insert(self.given.saturating_sub(1));
        }
    }

    pub fn is_ordered(&self) -> bool {
        self.outcomes.as_ref().is_some_and(Outcomes::is_ordered)
    }

    pub fn summary(&self) -> Option<Summary> {
        self.outcomes.as_ref().map(Outcomes::summary)
    }

    pub async fn cancel(&self) -> Result<(), ClientError> {
        match &self.outcomes {
            Some(outcomes) => outcomes.cancel().await,
            None => Ok(()),
        }
    }

    pub async fn leave(&mut self) -> Result<(), ClientError> {
        match self.outcomes.take() {
            Some(outcomes) => outcomes.leave().await,
            None => Ok(()),
        }
    }

    /// All has come and is acknowledged: waits until Redis has forgotten it.
    pub async fn close(&mut self) {
        if let Some(outcomes) = self.outcomes.take() {
            outcomes.close().await;
        }
    }
}
