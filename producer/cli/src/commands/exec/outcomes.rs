//! Results in either order: those of jobs that ended in earlier batches, and of those that run.

use std::sync::Arc;

use gristmill::{BatchId, ClientError, MapHandle, Summary, TaskError, TaskId, Unordered};

use super::jobs::{Job, Jobs};
use crate::resume::EndedRows;

pub struct Outcomes {
    running: Running,
    ended: EndedRows,
    jobs: Arc<Jobs>,
    /// Results that the batch gave.
    given: u64,
}

enum Running {
    Ordered { handle: MapHandle<Vec<u8>>, next: u64 },
    Unordered(Unordered<Vec<u8>>),
}

/// What came of a job.
pub struct Outcome {
    pub task: TaskId,
    /// None: it is none of ours.
    pub job: Option<Job>,
    pub result: Result<Vec<u8>, TaskError>,
}

impl Outcomes {
    pub fn of(handle: MapHandle<Vec<u8>>, unordered: bool, ended: EndedRows, jobs: Arc<Jobs>) -> Self {
        let running =
            if unordered { Running::Unordered(handle.unordered()) } else { Running::Ordered { handle, next: 0 } };
        Self { running, ended, jobs, given: 0 }
    }

    /// The next result. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Result<Outcome, ClientError>> {
        loop {
            if let Some(outcome) = self.next_ended().await.transpose() {
                return Some(outcome);
            }
            let next = tokio::select! {
                biased;
                next = self.running.next() => next,
                () = self.jobs.passed.notified() => continue,
            };
            let Some((index, result)) = next else {
                // All rows were read now.
                return self.next_ended().await.transpose();
            };
            self.given += 1;
            let (task, job) = (self.batch().task(index), self.jobs.take(index));
            return Some(Ok(Outcome { task, job, result }));
        }
    }

    /// The result of a job that ended in an earlier batch, if it is its turn.
    async fn next_ended(&mut self) -> Result<Option<Outcome>, ClientError> {
        let is_ordered = matches!(self.running, Running::Ordered { .. });
        if !self.ended.first().is_some_and(|row| self.jobs.is_turn_of(row, is_ordered)) {
            return Ok(None);
        }
        let answered = self.ended.next().await?;
        Ok(answered.map(|ended| Outcome {
            task: ended.task,
            job: self.jobs.take_ended(ended.row),
            result: ended.result,
        }))
    }

    /// Whether no job of an earlier batch waits for its turn.
    pub fn has_told_all(&self) -> bool {
        self.ended.first().is_none()
    }

    /// All results that were given are where they belong.
    pub fn acknowledge(&self) {
        match &self.running {
            Running::Ordered { handle, .. } => handle.acknowledge(self.given),
            Running::Unordered(handle) => handle.acknowledge(self.given),
        }
    }

    pub fn batch(&self) -> BatchId {
        match &self.running {
            Running::Ordered { handle, .. } => handle.id(),
            Running::Unordered(handle) => handle.id(),
        }
    }

    pub fn summary(&self) -> Summary {
        match &self.running {
            Running::Ordered { handle, .. } => handle.summary(),
            Running::Unordered(handle) => handle.summary(),
        }
    }

    pub async fn cancel(&self) -> Result<(), ClientError> {
        match &self.running {
            Running::Ordered { handle, .. } => handle.cancel().await,
            Running::Unordered(handle) => handle.cancel().await,
        }
    }

    /// Takes no further jobs and leaves the batch to itself.
    pub async fn leave(self) -> Result<(), ClientError> {
        match self.running {
            Running::Ordered { handle, .. } => handle.leave().await.map(drop),
            Running::Unordered(handle) => handle.leave().await.map(drop),
        }
    }

    /// All has come and is acknowledged: waits until Redis has forgotten it.
    pub async fn close(self) {
        match self.running {
            Running::Ordered { handle, .. } => handle.close().await,
            Running::Unordered(handle) => handle.close().await,
        }
    }
}

impl Running {
    /// The next result, with the index of its task.
    async fn next(&mut self) -> Option<(u64, Result<Vec<u8>, TaskError>)> {
        match self {
            Self::Ordered { handle, next } => {
                let outcome = handle.next().await?;
                *next += 1;
                Some((*next - 1, outcome))
            }
            Self::Unordered(handle) => handle.next().await,
        }
    }
}
