//! Results in either order: those of jobs that ended in earlier batches, and of those that run.

use std::sync::Arc;

use gristmill::{BatchId, ClientError, MapHandle, Summary, TaskError, TaskId};

use super::jobs::{Job, Jobs};
use crate::outcomes;
use crate::resume::EndedRows;

pub struct Outcomes {
    running: outcomes::Outcomes,
    ended: EndedRows,
    jobs: Arc<Jobs>,
    /// Results that the batch gave.
    given: u64,
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
        Self { running: outcomes::Outcomes::of(handle, unordered), ended, jobs, given: 0 }
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
            let (index, result) = match next {
                Some(Ok(next)) => next,
                Some(Err(error)) => return Some(Err(error)),
                // All rows were read now.
                None => return self.next_ended().await.transpose(),
            };
            self.given += 1;
            let (task, job) = (self.batch().task(index), self.jobs.take(index));
            return Some(Ok(Outcome { task, job, result }));
        }
    }

    /// The result of a job that ended in an earlier batch, if it is its turn.
    async fn next_ended(&mut self) -> Result<Option<Outcome>, ClientError> {
        if !self.ended.first().is_some_and(|row| self.jobs.is_turn_of(row, self.running.is_ordered())) {
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
        self.running.acknowledge(self.given);
    }

    pub fn batch(&self) -> BatchId {
        self.running.batch()
    }

    pub fn summary(&self) -> Summary {
        self.running.summary()
    }

    pub async fn cancel(&self) -> Result<(), ClientError> {
        self.running.cancel().await
    }

    /// Takes no further jobs and leaves the batch to itself.
    pub async fn leave(self) -> Result<(), ClientError> {
        self.running.leave().await
    }

    /// All has come and is acknowledged: waits until Redis has forgotten it.
    pub async fn close(self) {
        self.running.close().await;
    }
}
