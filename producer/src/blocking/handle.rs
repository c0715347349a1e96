//! Handles of single tasks.

use std::fmt;
use std::time::Duration;

use gristmill_shared::{OutcomeKind, TaskId};

use super::background::Background;
use crate::error::{ClientError, TaskError};
use crate::inspect::Progress;
use crate::status::TaskStatus;

/// One submitted task: [`gristmill::Handle`](crate::Handle) for programs without async.
pub struct Handle<T> {
    inner: crate::Handle<T>,
    background: Background,
}

impl<T> Handle<T> {
    pub(super) fn new(inner: crate::Handle<T>, background: Background) -> Self {
        Self { inner, background }
    }

    pub(super) fn into_parts(self) -> (crate::Handle<T>, Background) {
        (self.inner, self.background)
    }

    /// The task's id: print it or store it, and open the task again by it.
    pub fn id(&self) -> TaskId {
        self.inner.id()
    }

    /// Whether its idempotency key was known when it was submitted.
    pub fn was_known(&self) -> bool {
        self.inner.was_known()
    }

    /// Waits for the result.
    pub fn result(&self) -> Result<T, TaskError> {
        self.background.wait(self.inner.result())?
    }

    /// The same, for no longer than this: then the error is [`TaskError::Timeout`], and the task goes on.
    pub fn result_timeout(&self, time: Duration) -> Result<T, TaskError> {
        // The timer belongs to the runtime, so it is made there.
        self.background.wait(async { self.inner.result_timeout(time).await })?
    }

    /// The result if it is there, without waiting.
    pub fn try_result(&self) -> Result<Option<T>, TaskError> {
        self.background.wait(self.inner.try_result())?
    }

    /// Waits until the task has ended, and tells how.
    pub fn outcome(&self) -> Result<OutcomeKind, TaskError> {
        self.background.wait(self.inner.outcome())?
    }

    /// Cancels the task. False: it had ended already.
    pub fn cancel(&self) -> Result<bool, ClientError> {
        self.background.wait(self.inner.cancel())?
    }

    /// Where the task is, or how it ended.
    pub fn status(&self) -> Result<TaskStatus, ClientError> {
        self.background.wait(self.inner.status())?
    }

    /// What the task tells of itself while it runs.
    pub fn progress(&self) -> Result<Option<Progress>, ClientError> {
        self.background.wait(self.inner.progress())?
    }

    /// Whether Redis knows the task.
    pub fn exists(&self) -> Result<bool, ClientError> {
        self.background.wait(self.inner.exists())?
    }

    /// Deletes the result of a task that has ended. False: it has not, or it is stored with others.
    pub fn forget(&self) -> Result<bool, ClientError> {
        self.background.wait(self.inner.forget())?
    }

    /// The same task, whose result goes through `change`.
    pub fn map<U>(self, change: impl Fn(T) -> U + Send + Sync + 'static) -> Handle<U>
    where
        T: 'static,
    {
        Handle::new(self.inner.map(change), self.background)
    }

    /// The same task, whose result stays MessagePack: handles of whatever types become alike.
    pub fn into_raw(self) -> Handle<Vec<u8>> {
        Handle::new(self.inner.into_raw(), self.background)
    }
}

/// Another hold on the same task.
impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.background.clone())
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
