//! Results that are read by id: of one task, and of a batch.

use std::time::Duration;

use gristmill_shared::results::{Collected, CollectorStream};
use gristmill_shared::{BatchId, OutcomeKind, TaskId};

use crate::client::Client;
use crate::collect::{Output, client_error};
use crate::error::{ClientError, TaskError};

impl Client {
    /// Waits for the end of a task.
    pub(crate) async fn outcome(&self, task: TaskId) -> Output {
        let outcome = self.collector().task(task).await;
        self.item(task.batch, outcome.map(|collected| (task.index, collected)))?.1
    }

    /// The same without the output.
    pub(crate) async fn outcome_kind(&self, task: TaskId) -> Result<OutcomeKind, TaskError> {
        let mut stream = self.collector().stream(task.batch).only([task.index]).without_blobs();
        match stream.next().await {
            Some(Ok((_, Collected::Outcome(outcome, _)))) => Ok(outcome.kind()),
            Some(other) => match self.item(task.batch, other)?.1 {
                Ok(_) => Ok(OutcomeKind::Succeeded),
                Err(error) => Err(error),
            },
            None => Err(ClientError::NoSuchTask(task).into()),
        }
    }

    /// The results of a batch as its tasks end; none after the last.
    pub fn results(&self, batch: BatchId) -> Results {
        Results { client: self.clone(), batch, stream: self.collector().stream(batch) }
    }

    /// The results of some tasks of a batch as they end; none after the last of them.
    pub(crate) fn results_of(&self, batch: BatchId, indices: impl IntoIterator<Item = u64>) -> Results {
        Results { client: self.clone(), batch, stream: self.collector().stream(batch).only(indices) }
    }

    /// The results of a batch that are there, in the order of its tasks, without waiting for more.
    pub fn results_present(&self, batch: BatchId) -> Results {
        Results { client: self.clone(), batch, stream: self.collector().present(batch) }
    }

    /// The result of one task of a batch if it is there, without waiting for it, and without reading others.
    pub async fn result_present(&self, task: TaskId) -> Result<Option<Result<Vec<u8>, TaskError>>, ClientError> {
        let stream = self.collector().present(task.batch).only([task.index]);
        let mut results = Results { client: self.clone(), batch: task.batch, stream };
        match results.next().await.transpose()? {
            Some((_, Err(TaskError::Client(error)))) => Err(error),
            next => Ok(next.map(|(_, result)| result)),
        }
    }

    /// How long the attempt ran that ended a task, to within 6 %; none if nobody knows.
    pub async fn run_time(&self, task: TaskId) -> Result<Option<Duration>, ClientError> {
        match self.collector().present(task.batch).only([task.index]).without_blobs().next().await {
            Some(Ok((_, Collected::Outcome(_, time)))) => Ok(time.duration()),
            Some(Err(error)) if error.task().is_none() => Err(client_error(self.endpoint(), error)),
            _ => Ok(None),
        }
    }

    /// How a task ended, if it has, without its output; `Delivered` if a reader has had it deleted.
    pub(crate) async fn collected(&self, task: TaskId) -> Result<Option<Collected>, ClientError> {
        match self.collector().present(task.batch).only([task.index]).without_blobs().next().await {
            Some(Ok((_, collected))) => Ok(Some(collected)),
            Some(Err(error)) => Err(client_error(self.endpoint(), error)),
            None => Ok(None),
        }
    }
}

/// The results of a batch as its tasks end, or those that are there in the order of its tasks. Each is MessagePack.
pub struct Results {
    client: Client,
    batch: BatchId,
    stream: CollectorStream,
}

impl Results {
    /// The next result and the index of its task. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Result<(u64, Result<Vec<u8>, TaskError>), ClientError>> {
        let item = self.stream.next().await?;
        Some(self.client.item(self.batch, item))
    }
}
