//! The results of a `map`, as iterators.

use std::time::Duration;

use gristmill_shared::BatchId;
use tokio::time::timeout;

use super::background::Background;
use crate::error::{ClientError, TaskError};
use crate::map::Summary;

/// A handle that is dropped waits so long for Redis to hear of it: the program may end right after.
const PARTING: Duration = Duration::from_secs(5);

/// The results of a `map`, in the order of its items: an iterator, so `collect::<Result<Vec<_>, _>>()` stops at the first
/// failure and `collect::<Vec<_>>()` keeps failures among the results.
///
/// Dropping it cancels what has not started, unless the options of the `map` say otherwise.
#[must_use = "what has not started is cancelled when it is dropped"]
pub struct MapHandle<T> {
    inner: crate::MapHandle<T>,
    background: Background,
    over: bool,
}

impl<T> MapHandle<T> {
    pub(super) fn new(inner: crate::MapHandle<T>, background: Background) -> Self {
        Self { inner, background, over: false }
    }

    /// The batch that its tasks make.
    pub fn id(&self) -> BatchId {
        self.inner.id()
    }

    /// How the tasks ended so far, and how long they took.
    pub fn summary(&self) -> Summary {
        self.inner.summary()
    }

    /// The next result, if it comes in this time; else [`TaskError::Timeout`], and it may be asked for again.
    pub fn next_timeout(&mut self, time: Duration) -> Option<Result<T, TaskError>> {
        let waited = self.background.wait(async { timeout(time, self.inner.next()).await });
        let late = |_| Some(Err(TaskError::Timeout { batch: self.inner.id(), index: None, waited: time }));
        self.or_end(waited.map(|next| next.unwrap_or_else(late)))
    }

    /// Takes no further items and cancels what has not started; results go on to come.
    pub fn cancel(&self) -> Result<(), ClientError> {
        self.background.wait(self.inner.cancel())?
    }

    /// Says that the first `count` results which this handle gave are safe, so that Redis may forget them. Only with
    /// [`SubmitOptions::acknowledge`](crate::SubmitOptions::acknowledge) does anybody wait for that.
    pub fn acknowledge(&self, count: u64) {
        self.inner.acknowledge(count);
    }

    /// Enqueues all items, and leaves the batch to itself: its results can be collected by its id.
    pub fn detach(mut self) -> Result<BatchId, ClientError> {
        self.background.wait(self.inner.part(true))?
    }

    /// Takes no further items and leaves what is enqueued to itself.
    pub fn leave(mut self) -> Result<BatchId, ClientError> {
        self.background.wait(self.inner.part(false))?
    }

    /// What cannot be waited for is told once.
    fn or_end(&mut self, next: Result<Option<Result<T, TaskError>>, ClientError>) -> Option<Result<T, TaskError>> {
        match next {
            Ok(next) => next,
            Err(_) if self.over => None,
            Err(error) => {
                self.over = true;
                Some(Err(error.into()))
            }
        }
    }
}

impl<T> Iterator for MapHandle<T> {
    type Item = Result<T, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.background.wait(self.inner.next());
        self.or_end(next)
    }
}

impl<T> Drop for MapHandle<T> {
    fn drop(&mut self) {
        // Inside of a runtime it is dropped as any other.
        let _ = self.background.wait(async { timeout(PARTING, self.inner.end()).await });
    }
}

/// A result and the index of its item.
type Indexed<T> = (u64, Result<T, TaskError>);

/// The results of a `map` as they come, each with the index of its item. An error of the client ([`TaskError::Client`])
/// is no result of the item whose index it carries, which is 0, and is the last: look at the error before the index.
///
/// Dropping it does what dropping a [`MapHandle`] does.
#[must_use = "what has not started is cancelled when it is dropped"]
pub struct Unordered<T> {
    inner: crate::Unordered<T>,
    background: Background,
    over: bool,
}

impl<T> Unordered<T> {
    pub(super) fn new(inner: crate::Unordered<T>, background: Background) -> Self {
        Self { inner, background, over: false }
    }

    /// The batch that its tasks make.
    pub fn id(&self) -> BatchId {
        self.inner.id()
    }

    /// How the tasks ended so far, and how long they took.
    pub fn summary(&self) -> Summary {
        self.inner.summary()
    }

    /// Takes no further items and cancels what has not started; results go on to come.
    pub fn cancel(&self) -> Result<(), ClientError> {
        self.background.wait(self.inner.cancel())?
    }

    /// Says that the first `count` results which this handle gave are safe, so that Redis may forget them. Only with
    /// [`SubmitOptions::acknowledge`](crate::SubmitOptions::acknowledge) does anybody wait for that.
    pub fn acknowledge(&self, count: u64) {
        self.inner.acknowledge(count);
    }

    /// The next result, if it comes in this time; else [`TaskError::Timeout`], with the index 0, and it may be asked for
    /// again.
    pub fn next_timeout(&mut self, time: Duration) -> Option<(u64, Result<T, TaskError>)> {
        let waited = self.background.wait(async { timeout(time, self.inner.next()).await });
        let late = |_| Some((0, Err(TaskError::Timeout { batch: self.inner.id(), index: None, waited: time })));
        self.or_end(waited.map(|next| next.unwrap_or_else(late)))
    }

    /// Enqueues all items, and leaves the batch to itself: its results can be collected by its id.
    pub fn detach(mut self) -> Result<BatchId, ClientError> {
        self.background.wait(self.inner.part(true))?
    }

    /// Takes no further items and leaves what is enqueued to itself.
    pub fn leave(mut self) -> Result<BatchId, ClientError> {
        self.background.wait(self.inner.part(false))?
    }

    /// What cannot be waited for is told once.
    fn or_end(&mut self, next: Result<Option<Indexed<T>>, ClientError>) -> Option<Indexed<T>> {
        match next {
            Ok(next) => next,
            Err(_) if self.over => None,
            Err(error) => {
                self.over = true;
                Some((0, Err(error.into())))
            }
        }
    }
}

impl<T> Iterator for Unordered<T> {
    type Item = (u64, Result<T, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.background.wait(self.inner.next());
        self.or_end(next)
    }
}

impl<T> Drop for Unordered<T> {
    fn drop(&mut self) {
        let _ = self.background.wait(async { timeout(PARTING, self.inner.end()).await });
    }
}
