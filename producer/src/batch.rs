//! What a caller holds of a batch that was submitted before, maybe by somebody else.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use gristmill_broker::BatchRecord;
use gristmill_shared::{BatchId, TaskId};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::client::Client;
use crate::collect::{self, client_error, decode_value};
use crate::error::{ClientError, TaskError};
use crate::handle::{Handle, cancelled};
use crate::inspect::Progress;
use crate::status::TaskStatus;

/// A batch, opened by its id. A batch that nobody knows is an error of whatever is asked of it:
/// [`ClientError::NoSuchBatch`].
///
/// ```no_run
/// # async fn example(client: gristmill::Client, id: gristmill::BatchId) -> Result<(), gristmill::TaskError> {
/// let batch = client.batch(id);
/// println!("{} of {} tasks have ended", batch.status().await?.ended(), batch.status().await?.tasks);
/// let squares: Vec<i64> = batch.collect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BatchHandle {
    client: Client,
    batch: BatchId,
}

/// How far a batch is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BatchProgress {
    /// Tasks so far.
    pub tasks: u64,
    /// Whether these are all.
    pub complete: bool,
    /// Tasks that have ended.
    pub ended: u64,
    /// Tasks that run, as workers told last, with what they tell of themselves.
    pub running: Vec<(TaskId, Progress)>,
}

impl BatchProgress {
    /// How much of the tasks so far is done, from 0 to 1: a task that runs counts as far as it says that it is.
    pub fn fraction(&self) -> f64 {
        let running: f64 = self.running.iter().filter_map(|(_, progress)| progress.fraction).sum();
        if self.tasks == 0 { 1.0 } else { ((self.ended as f64 + running) / self.tasks as f64).min(1.0) }
    }
}

impl Client {
    /// A handle for a batch that was submitted before, maybe by somebody else.
    pub fn batch(&self, batch: BatchId) -> BatchHandle {
        BatchHandle { client: self.clone(), batch }
    }

    /// A batch that should be there.
    pub(crate) async fn existing(&self, batch: BatchId) -> Result<BatchRecord, ClientError> {
        self.batch_record(batch).await?.ok_or(ClientError::NoSuchBatch(batch))
    }
}

impl BatchHandle {
    /// The batch's id: print it or store it, and open the batch again by it.
    pub fn id(&self) -> BatchId {
        self.batch
    }

    /// One of its tasks.
    pub fn task<T: DeserializeOwned + 'static>(&self, index: u64) -> Handle<T> {
        self.client.handle(self.batch.task(index))
    }

    /// Whether Redis knows the batch. It does until the time of its results is over.
    pub async fn exists(&self) -> Result<bool, ClientError> {
        Ok(self.client.batch_record(self.batch).await?.is_some())
    }

    /// Its state, and how many of its tasks ended how.
    pub async fn status(&self) -> Result<BatchRecord, ClientError> {
        self.client.existing(self.batch).await
    }

    /// How far it is, with what its running tasks tell of themselves.
    pub async fn progress(&self) -> Result<BatchProgress, ClientError> {
        let record = self.status().await?;
        let running = if record.ended() < record.tasks { self.running().await? } else { Vec::new() };
        Ok(BatchProgress { tasks: record.tasks, complete: record.total.is_some(), ended: record.ended(), running })
    }

    async fn running(&self) -> Result<Vec<(TaskId, Progress)>, ClientError> {
        let all = self.client.running(|task| task.batch == self.batch).await?.into_iter();
        Ok(all
            .filter_map(|(task, status)| match status {
                TaskStatus::Running { progress, .. } => Some((task, progress)),
                _ => None,
            })
            .collect())
    }

    /// Waits until all its tasks have ended. No result is read.
    pub async fn wait(&self) -> Result<BatchRecord, ClientError> {
        let ended = self.client.collector().finished(self.batch).await;
        ended.map_err(|error| client_error(self.client.endpoint(), error))?;
        self.status().await
    }

    /// The same for no longer than this; none: it has not finished by then.
    pub async fn wait_timeout(&self, time: Duration) -> Result<Option<BatchRecord>, ClientError> {
        timeout(time, self.wait()).await.ok().transpose()
    }

    /// Its results as they come, each with the index of its task, until it has finished. Nothing is deleted: the same
    /// results can be read again.
    pub fn results<T: DeserializeOwned + 'static>(&self) -> BatchResults<T> {
        let results = Some(self.client.results(self.batch));
        let batch = self.batch;
        let stream = stream::unfold(results, move |results| async move {
            let mut results = results?;
            Some(match results.next().await? {
                Ok((index, output)) => ((index, collect::read(batch.task(index), output, decode_value)), Some(results)),
                Err(error) => ((0, Err(error.into())), None),
            })
        });
        BatchResults { stream: stream.boxed() }
    }

    /// All its results in the order of its tasks, once it has finished. The first task that did not succeed ends this,
    /// and changes nothing for the others.
    pub async fn collect<T: DeserializeOwned + 'static>(&self) -> Result<Vec<T>, TaskError> {
        let mut all = Vec::new();
        let mut results = self.results();
        while let Some((index, result)) = results.next().await {
            all.push((index, result?));
        }
        Ok(in_order(all))
    }

    /// All its results in the order of its tasks, failures among them, once it has finished.
    pub async fn collect_all<T: DeserializeOwned + 'static>(&self) -> Result<Vec<Result<T, TaskError>>, ClientError> {
        let mut all = Vec::new();
        let mut results = self.results();
        while let Some((index, result)) = results.next().await {
            match result {
                Err(TaskError::Client(error)) => return Err(error),
                result => all.push((index, result)),
            }
        }
        Ok(in_order(all))
    }

    /// Cancels it: what has not started will not, and what runs is asked to end. False: all of it had ended already.
    pub async fn cancel(&self) -> Result<bool, ClientError> {
        cancelled(self.client.cancel(self.batch).await?, self.batch.task(0))
    }

    /// Cancels what has not started; what runs comes to its end. False: all of it had ended already.
    pub async fn cancel_unstarted(&self) -> Result<bool, ClientError> {
        cancelled(self.client.cancel_unstarted(self.batch).await?, self.batch.task(0))
    }

    /// Deletes the results that are there, instead of leaving them to their time. Whoever asks for one of them learns
    /// that it was delivered. Of a batch of one its idempotency key stays taken.
    pub async fn forget(&self) -> Result<(), ClientError> {
        self.client.forget_batch(self.batch).await
    }
}

impl std::fmt::Debug for BatchHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BatchHandle").field(&self.batch).finish()
    }
}

fn in_order<R>(mut results: Vec<(u64, R)>) -> Vec<R> {
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The results of a batch as they come, each with the index of its task. An error of the client carries the index 0 and
/// is the last.
pub struct BatchResults<T> {
    stream: BoxStream<'static, (u64, Result<T, TaskError>)>,
}

impl<T> BatchResults<T> {
    /// The next result and the index of its task; none after the last.
    pub async fn next(&mut self) -> Option<(u64, Result<T, TaskError>)> {
        self.stream.next().await
    }
}

impl<T> Stream for BatchResults<T> {
    type Item = (u64, Result<T, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(context)
    }
}
