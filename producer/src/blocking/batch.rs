//! Batches that were submitted before.

use std::time::Duration;

use gristmill_broker::BatchRecord;
use gristmill_shared::BatchId;
use serde::de::DeserializeOwned;

use super::Handle;
use super::background::Background;
use crate::batch::BatchProgress;
use crate::error::{ClientError, TaskError};

/// A batch, opened by its id: [`gristmill::BatchHandle`](crate::BatchHandle) for programs without async.
#[derive(Clone)]
pub struct BatchHandle {
    inner: crate::BatchHandle,
    background: Background,
}

impl BatchHandle {
    pub(super) fn new(inner: crate::BatchHandle, background: Background) -> Self {
        Self { inner, background }
    }

    /// The batch's id.
    pub fn id(&self) -> BatchId {
        self.inner.id()
    }

    /// One of its tasks.
    pub fn task<T: DeserializeOwned + 'static>(&self, index: u64) -> Handle<T> {
        Handle::new(self.inner.task(index), self.background.clone())
    }

    /// Whether Redis knows the batch.
    pub fn exists(&self) -> Result<bool, ClientError> {
        self.background.wait(self.inner.exists())?
    }

    /// Its state, and how many of its tasks ended how.
    pub fn status(&self) -> Result<BatchRecord, ClientError> {
        self.background.wait(self.inner.status())?
    }

    /// How far it is.
    pub fn progress(&self) -> Result<BatchProgress, ClientError> {
        self.background.wait(self.inner.progress())?
    }

    /// Waits until all its tasks have ended.
    pub fn wait(&self) -> Result<BatchRecord, ClientError> {
        self.background.wait(self.inner.wait())?
    }

    /// The same for no longer than this; none: it has not finished by then, which is no error, for nobody asked for a result.
    pub fn wait_timeout(&self, time: Duration) -> Result<Option<BatchRecord>, ClientError> {
        self.background.wait(async { self.inner.wait_timeout(time).await })?
    }

    /// Its results as they come, each with the index of its task.
    pub fn results<T: DeserializeOwned + 'static>(&self) -> BatchResults<T> {
        BatchResults { inner: Some(self.inner.results()), background: self.background.clone() }
    }

    /// All its results in the order of its tasks, once it has finished; or the first failure.
    pub fn collect<T: DeserializeOwned + 'static>(&self) -> Result<Vec<T>, TaskError> {
        self.background.wait(self.inner.collect())?
    }

    /// All its results in the order of its tasks, failures among them, once it has finished.
    pub fn collect_all<T: DeserializeOwned + 'static>(&self) -> Result<Vec<Result<T, TaskError>>, ClientError> {
        self.background.wait(self.inner.collect_all())?
    }

    /// Cancels it. False: all of it had ended already.
    pub fn cancel(&self) -> Result<bool, ClientError> {
        self.background.wait(self.inner.cancel())?
    }

    /// Cancels what has not started. False: all of it had ended already.
    pub fn cancel_unstarted(&self) -> Result<bool, ClientError> {
        self.background.wait(self.inner.cancel_unstarted())?
    }

    /// Deletes the results that are there.
    pub fn forget(&self) -> Result<(), ClientError> {
        self.background.wait(self.inner.forget())?
    }
}

/// The results of a batch as they come, each with the index of its task. An error of the client ([`TaskError::Client`])
/// is no result of the task whose index it carries, which is 0, and is the last: look at the error before the index.
pub struct BatchResults<T> {
    inner: Option<crate::BatchResults<T>>,
    background: Background,
}

impl<T> Iterator for BatchResults<T> {
    type Item = (u64, Result<T, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        match self.background.wait(self.inner.as_mut()?.next()) {
            Ok(next) => next,
            Err(error) => {
                self.inner = None;
                Some((0, Err(error.into())))
            }
        }
    }
}
