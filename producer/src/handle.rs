//! What a caller holds of one task, and of a batch that somebody submitted earlier.

use std::time::Duration;

use gristmill_broker::Cancelled;
use gristmill_shared::codec::{self, CodecError};
use gristmill_shared::results::{Collected, CollectorStream};
use gristmill_shared::{BatchId, TaskId};
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::collect::{Output, client_error, decode_raw, output};
use crate::error::{ClientError, TaskError};

/// One submitted task. Dropping it changes nothing: the task runs, and its result waits in Redis.
pub struct Handle<T> {
    client: Client,
    task: TaskId,
    decode: fn(Vec<u8>) -> Result<T, CodecError>,
}

impl<T> Handle<T> {
    /// The task's id, which is good for collecting its result from anywhere.
    pub fn id(&self) -> TaskId {
        self.task
    }

    /// Waits for the result.
    pub async fn result(&self) -> Result<T, TaskError> {
        let bytes = self.client.outcome(self.task.batch).await?;
        (self.decode)(bytes).map_err(|error| TaskError::Output { task: self.task, reason: error.to_string() })
    }

    /// Cancels the task: if it has not started it will not, and if it runs it is asked to end.
    pub async fn cancel(&self) -> Result<Cancelled, ClientError> {
        self.client.cancel(self.task.batch).await
    }
}

impl Client {
    /// A handle for a task that was submitted alone, maybe by somebody else.
    pub fn handle<T: DeserializeOwned>(&self, task: TaskId) -> Handle<T> {
        Handle { client: self.clone(), task, decode: |bytes| codec::decode(&bytes) }
    }

    /// The same, for a result that stays MessagePack.
    pub fn raw_handle(&self, task: TaskId) -> Handle<Vec<u8>> {
        Handle { client: self.clone(), task, decode: decode_raw }
    }

    async fn outcome(&self, batch: BatchId) -> Output {
        let outcome = self.collector().single(batch).await;
        let task = batch.task(0);
        match outcome {
            Ok(outcome) => output(task, gristmill_shared::results::Collected::Outcome(outcome, Default::default())),
            Err(error) if error.task().is_some() => self.item(batch, Err(error))?.1,
            Err(error) => Err(client_error(self.endpoint(), error).into()),
        }
    }

    /// The results of a batch as its tasks end; none after the last.
    pub fn results(&self, batch: BatchId) -> Results {
        Results { client: self.clone(), batch, stream: self.collector().stream(batch) }
    }

    /// The results of a batch that are there, in the order of its tasks, without waiting for more.
    pub fn results_present(&self, batch: BatchId) -> Results {
        Results { client: self.clone(), batch, stream: self.collector().present(batch) }
    }

    /// The result of one task of a batch if it is there, without waiting for it, and without reading others.
    pub async fn result_present(&self, task: TaskId) -> Result<Option<Result<Vec<u8>, TaskError>>, ClientError> {
        let stream = self.collector().present(task.batch).only(task.index);
        let mut results = Results { client: self.clone(), batch: task.batch, stream };
        Ok(results.next().await.transpose()?.map(|(_, result)| result))
    }

    /// How long the attempt ran that ended a task, to within 6 %; none if nobody knows.
    pub async fn run_time(&self, task: TaskId) -> Result<Option<Duration>, ClientError> {
        match self.collector().present(task.batch).only(task.index).next().await {
            Some(Ok((_, Collected::Outcome(_, time)))) => Ok(time.duration()),
            Some(Err(error)) if error.task().is_none() => Err(client_error(self.endpoint(), error)),
            _ => Ok(None),
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
