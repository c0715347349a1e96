//! What a caller holds of a streaming batch.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};
use gristmill_shared::BatchId;
use gristmill_shared::codec::CodecError;
use tokio::sync::mpsc;

use super::deliver::Delivery;
use super::state::{Mode, Phase, Shared};
use super::tally::Summary;
use crate::collect::Output;
use crate::error::{ClientError, TaskError};

type Decode<T> = fn(Vec<u8>) -> Result<T, CodecError>;

/// The results of a `map`, in the order of its items.
///
/// Dropping it cancels what has not started, as far as the runtime still lives to do so.
pub struct MapHandle<T> {
    inbox: Inbox<T>,
    /// What came before its turn.
    early: BTreeMap<u64, Output>,
    next: u64,
}

/// The results of a `map` as they come, each with the index of its item.
pub struct Unordered<T> {
    inbox: Inbox<T>,
}

/// The receiving end, shared by both orders.
struct Inbox<T> {
    batch: BatchId,
    shared: Arc<Shared>,
    deliveries: mpsc::Receiver<Delivery>,
    /// Deliveries that were taken.
    taken: u64,
    /// Outcomes that arrived last.
    current: VecDeque<(u64, Output)>,
    decode: Decode<T>,
    /// Whether dropping it has nothing to cancel any more.
    over: bool,
}

impl<T> MapHandle<T> {
    pub(super) fn new(
        batch: BatchId,
        shared: Arc<Shared>,
        deliveries: mpsc::Receiver<Delivery>,
        decode: Decode<T>,
    ) -> Self {
        let inbox = Inbox { batch, shared, deliveries, taken: 0, current: VecDeque::new(), decode, over: false };
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
    pub async fn next(&mut self) -> Option<Result<T, TaskError>>
    where
        T: Unpin,
    {
        StreamExt::next(self).await
    }

    /// All results, in the order of the items. The first task that did not succeed ends it, and cancels
    /// what has not started.
    pub async fn collect(mut self) -> Result<Vec<T>, TaskError>
    where
        T: Unpin,
    {
        let mut all = Vec::new();
        while let Some(result) = self.next().await {
            all.push(result?);
        }
        Ok(all)
    }

    /// The results as they come, each with the index of its item.
    pub fn unordered(self) -> Unordered<T> {
        let Self { mut inbox, early, .. } = self;
        for (index, output) in early {
            inbox.shared.unbuffered(size(&output));
            inbox.current.push_back((index, output));
        }
        Unordered { inbox }
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
    pub async fn close(self) {
        self.inbox.close().await;
    }

    /// Enqueues all items without waiting for results, and leaves the batch to itself: its results can be
    /// collected by its id. Returns when all of it is in Redis.
    pub async fn detach(self) -> Result<BatchId, ClientError> {
        self.inbox.part(Mode::Detached).await
    }

    /// Takes no further items and leaves what is enqueued to itself: those tasks run, and their results can
    /// be collected by the batch's id.
    pub async fn leave(self) -> Result<BatchId, ClientError> {
        self.inbox.part(Mode::Left).await
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

impl<T: Unpin> Stream for MapHandle<T> {
    type Item = Result<T, TaskError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_result(context)
    }
}

impl<T> Unordered<T> {
    /// The batch that its tasks make.
    pub fn id(&self) -> BatchId {
        self.inbox.batch
    }

    /// How the tasks ended so far, and how long they took. What has arrived counts, read or not.
    pub fn summary(&self) -> Summary {
        self.inbox.shared.summary()
    }

    /// The next result and the index of its item; none after the last. An error of the client carries the
    /// index 0 and is the last.
    pub async fn next(&mut self) -> Option<(u64, Result<T, TaskError>)>
    where
        T: Unpin,
    {
        StreamExt::next(self).await
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
    pub async fn close(self) {
        self.inbox.close().await;
    }

    /// Takes no further items and leaves what is enqueued to itself.
    pub async fn leave(self) -> Result<BatchId, ClientError> {
        self.inbox.part(Mode::Left).await
    }
}

impl<T: Unpin> Stream for Unordered<T> {
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

impl<T> Inbox<T> {
    fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<(u64, Output), ClientError>>> {
        loop {
            if let Some(outcome) = self.current.pop_front() {
                return Poll::Ready(Some(Ok(outcome)));
            }
            if self.over {
                return Poll::Ready(None);
            }
            let Poll::Ready(delivery) = self.deliveries.poll_recv(context) else {
                self.shared.starve(self.taken);
                return Poll::Pending;
            };
            match delivery {
                Some(Delivery::Outcomes(outcomes)) => {
                    self.taken += 1;
                    self.current.extend(outcomes);
                }
                Some(Delivery::Failed(error)) => return Poll::Ready(Some(Err(error))),
                Some(Delivery::End) => self.over = true,
                None => {
                    self.over = true;
                    return Poll::Ready(self.unexpected_end().map(Err));
                }
            }
        }
    }

    /// The background task ended without a word: that is fine if the batch has come to its end.
    fn unexpected_end(&self) -> Option<ClientError> {
        match &*self.shared.phase.borrow() {
            Phase::Starting | Phase::Feeding => Some(ClientError::Stopped(self.batch)),
            Phase::Sealed | Phase::Cancelled | Phase::Failed(_) => None,
        }
    }

    /// What the caller gets.
    fn read(&self, index: u64, output: Output) -> Result<T, TaskError> {
        self.shared.give(index);
        let decode = |bytes| {
            (self.decode)(bytes).map_err(|error| {
                let task = self.batch.task(index);
                TaskError::Output { task, reason: error.to_string() }
            })
        };
        output.and_then(decode)
    }

    async fn cancel(&self) -> Result<(), ClientError> {
        self.shared.mode.send_replace(Mode::Stopped);
        let mut phase = self.shared.phase.subscribe();
        let wait = phase.wait_for(|phase| matches!(phase, Phase::Cancelled | Phase::Failed(_)));
        tokio::select! {
            ended = wait => match ended.as_deref() {
                Ok(Phase::Failed(error)) => Err(error.clone()),
                _ => Ok(()),
            },
            // The background task is gone because the batch has finished: nothing is left to cancel.
            () = self.driver_gone() => Ok(()),
        }
    }

    /// Parts from the background task, which brings the batch into Redis as the mode says.
    async fn part(mut self, mode: Mode) -> Result<BatchId, ClientError> {
        self.over = true;
        self.shared.mode.send_replace(mode);
        self.deliveries.close();
        let mut phase = self.shared.phase.subscribe();
        let sealed = phase.wait_for(|phase| !matches!(phase, Phase::Starting | Phase::Feeding));
        tokio::select! {
            ended = sealed => match ended.as_deref() {
                Ok(Phase::Failed(error)) => Err(error.clone()),
                Ok(Phase::Cancelled) => Err(ClientError::BatchSealed(self.batch)),
                _ => Ok(self.batch),
            },
            // Its last word may have come at the same moment.
            () = self.driver_gone() => match &*self.shared.phase.borrow() {
                Phase::Sealed => Ok(self.batch),
                _ => Err(ClientError::Stopped(self.batch)),
            },
        }
    }

    async fn close(mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.shared.mode.send_replace(Mode::Dropped);
        }
        self.deliveries.close();
        self.driver_gone().await;
    }

    async fn driver_gone(&self) {
        self.shared.mode.closed().await;
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        if !self.over {
            self.shared.mode.send_replace(Mode::Dropped);
        }
    }
}

/// What an outcome takes, about.
pub(super) fn size(output: &Output) -> usize {
    match output {
        Ok(bytes) => bytes.len(),
        Err(_) => 256,
    }
}
