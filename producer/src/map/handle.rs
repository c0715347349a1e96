//! What a caller holds of a streaming batch.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};
use gristmill_shared::BatchId;

use super::inbox::{Inbox, size};
use super::state::Mode;
use super::tally::Summary;
use super::unordered::Unordered;
use crate::collect::Output;
use crate::error::{ClientError, TaskError};

/// The results of a `map`, in the order of its items.
///
/// Dropping it cancels what has not started, as far as the runtime still lives to do so, unless
/// [`SubmitOptions::on_drop`](crate::SubmitOptions::on_drop) says otherwise.
#[must_use = "what has not started is cancelled when it is dropped"]
pub struct MapHandle<T> {
    inbox: Inbox<T>,
    /// What came before its turn.
    early: BTreeMap<u64, Output>,
    next: u64,
}

impl<T> MapHandle<T> {
    pub(super) fn new(inbox: Inbox<T>) -> Self {
        Self { inbox, early: BTreeMap::new(), next: 0 }
    }

    /// The batch that its tasks make.
    pub fn id(&self) -> BatchId {
        self.inbox.batch
    }

    /// How the tasks ended so far, and how long they took. What has arrived counts, read or not.
    pub fn summary(&self) -> Summary {
        self.inbox.shared.summary()
    }

    /// The next result, in the order of the items; none after the last.
    pub async fn next(&mut self) -> Option<Result<T, TaskError>> {
        StreamExt::next(self).await
    }

    /// All results, in the order of the items. The first task that did not succeed ends this with its error, and the
    /// handle is dropped.
    pub async fn collect(mut self) -> Result<Vec<T>, TaskError> {
        let mut all = Vec::new();
        while let Some(result) = self.next().await {
            all.push(result?);
        }
        Ok(all)
    }

    /// All results, in the order of the items, failures among them. Only an error of the client ends this early.
    pub async fn collect_all(mut self) -> Result<Vec<Result<T, TaskError>>, ClientError> {
        let mut all = Vec::new();
        while let Some(result) = self.next().await {
            match result {
                Err(TaskError::Client(error)) => return Err(error),
                result => all.push(result),
            }
        }
        Ok(all)
    }

    /// Merges the results into one value, in the order of the items, and keeps none of them. The first task that did not
    /// succeed ends this with its error, and the handle is dropped. Where the order does not matter,
    /// [`Unordered::fold`] waits for nobody.
    pub async fn fold<A>(mut self, first: A, mut merge: impl FnMut(A, T) -> A) -> Result<A, TaskError> {
        let mut merged = first;
        while let Some(result) = self.next().await {
            merged = merge(merged, result?);
        }
        Ok(merged)
    }

    /// The results as they come, each with the index of its item.
    pub fn unordered(self) -> Unordered<T> {
        let Self { mut inbox, early, .. } = self;
        for (index, output) in early {
            inbox.shared.unbuffered(size(&output));
            inbox.current.push_back((index, output));
        }
        Unordered::new(inbox)
    }

    /// Takes no further items and cancels what has not started; what runs goes on. Results go on to come,
    /// those of the cancelled tasks as errors.
    pub async fn cancel(&self) -> Result<(), ClientError> {
        self.inbox.cancel().await
    }

    /// Says that the first `count` results which this handle gave are safe, so that Redis may forget them. Only with
    /// [`SubmitOptions::acknowledge`](crate::SubmitOptions::acknowledge) does anybody wait for that.
    pub fn acknowledge(&self, count: u64) {
        self.inbox.shared.acknowledge(count);
    }

    /// Ends the handle: cancels what has not started, as dropping it does. Returns when that is done, and when Redis
    /// has forgotten what was acknowledged.
    pub async fn close(mut self) {
        self.end().await;
    }

    pub(crate) async fn end(&mut self) {
        self.inbox.close().await;
    }

    /// Enqueues all items without waiting for results, and leaves the batch to itself: its results can be
    /// collected by its id. Returns when all of it is in Redis.
    pub async fn detach(mut self) -> Result<BatchId, ClientError> {
        self.part(true).await
    }

    /// Takes no further items and leaves what is enqueued to itself: those tasks run, and their results can
    /// be collected by the batch's id.
    pub async fn leave(mut self) -> Result<BatchId, ClientError> {
        self.part(false).await
    }

    pub(crate) async fn part(&mut self, with_all_items: bool) -> Result<BatchId, ClientError> {
        self.inbox.part(if with_all_items { Mode::Detached } else { Mode::Left }).await
    }

    fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, TaskError>>> {
        loop {
            if let Some(output) = self.early.remove(&self.next) {
                self.inbox.shared.unbuffered(size(&output));
                self.next += 1;
                return Poll::Ready(Some(self.inbox.read(self.next - 1, output)));
            }
            match ready!(self.inbox.poll_output(context)) {
                // A revived task's second outcome comes too late.
                Some(Ok((index, _))) if index < self.next => {}
                Some(Ok((index, output))) if index == self.next => {
                    self.next += 1;
                    return Poll::Ready(Some(self.inbox.read(index, output)));
                }
                Some(Ok((index, output))) => {
                    self.inbox.shared.buffered(size(&output));
                    self.early.insert(index, output);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => {
                    // With the batch at its end nothing is missing; should it be, the rest still comes in order.
                    let Some((&index, _)) = self.early.first_key_value() else { return Poll::Ready(None) };
                    self.next = index;
                }
            }
        }
    }
}

impl<T> Stream for MapHandle<T> {
    type Item = Result<T, TaskError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_result(context)
    }
}
