//! The results of a `map` as they come.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};
use gristmill_shared::BatchId;

use super::inbox::Inbox;
use super::state::Mode;
use super::tally::Summary;
use crate::error::{ClientError, TaskError};

/// The results of a `map` as they come, each with the index of its item.
///
/// Dropping it cancels what has not started, as dropping a [`MapHandle`](crate::MapHandle) does.
#[must_use = "what has not started is cancelled when it is dropped"]
pub struct Unordered<T> {
    inbox: Inbox<T>,
}

impl<T> Unordered<T> {
    pub(super) fn new(inbox: Inbox<T>) -> Self {
        Self { inbox }
    }

    /// The batch that its tasks make.
    pub fn id(&self) -> BatchId {
        self.inbox.batch
    }

    /// How the tasks ended so far, and how long they took. What has arrived counts, read or not.
    pub fn summary(&self) -> Summary {
        self.inbox.shared.summary()
    }

    /// The next result and the index of its item; none after the last. An error of the client
    /// ([`TaskError::Client`]) is no result of the item whose index it carries, which is 0, and is the last: look at the
    /// error before the index.
    pub async fn next(&mut self) -> Option<(u64, Result<T, TaskError>)> {
        StreamExt::next(self).await
    }

    /// Merges the results into one value as they come, and keeps none of them: sums, counts, histograms. The first task
    /// that did not succeed ends this with its error, and the handle is dropped.
    ///
    /// ```no_run
    /// # async fn example(client: gristmill::Client) -> Result<(), gristmill::TaskError> {
    /// # gristmill::remote_kernel! { fn inside(samples: u64, seed: u64) -> u64 = "inside"; }
    /// let seeds = (0..1000).map(|seed| (1_000_000, seed));
    /// let sum = client.map_unordered(inside, seeds).await?.fold(0, |sum, part| sum + part).await?;
    /// println!("pi is about {}", 4.0 * sum as f64 / 1e9);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fold<A>(mut self, first: A, mut merge: impl FnMut(A, T) -> A) -> Result<A, TaskError> {
        let mut merged = first;
        while let Some((_, result)) = self.next().await {
            merged = merge(merged, result?);
        }
        Ok(merged)
    }

    /// Takes no further items and cancels what has not started.
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

    /// Enqueues all items without waiting for results, and leaves the batch to itself, as
    /// [`MapHandle::detach`](crate::MapHandle::detach) does.
    pub async fn detach(mut self) -> Result<BatchId, ClientError> {
        self.part(true).await
    }

    /// Takes no further items and leaves what is enqueued to itself.
    pub async fn leave(mut self) -> Result<BatchId, ClientError> {
        self.part(false).await
    }

    pub(crate) async fn part(&mut self, with_all_items: bool) -> Result<BatchId, ClientError> {
        self.inbox.part(if with_all_items { Mode::Detached } else { Mode::Left }).await
    }
}

impl<T> Stream for Unordered<T> {
    type Item = (u64, Result<T, TaskError>);

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let inbox = &mut self.get_mut().inbox;
        Poll::Ready(match ready!(inbox.poll_output(context)) {
            Some(Ok((index, output))) => Some((index, inbox.read(index, output))),
            Some(Err(error)) => Some((0, Err(error.into()))),
            None => None,
        })
    }
}
