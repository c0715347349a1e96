//! The receiving end of a streaming batch, shared by both orders.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use gristmill_shared::BatchId;
use gristmill_shared::codec::CodecError;
use tokio::sync::mpsc;

use super::deliver::Delivery;
use super::source::Failure;
use super::state::{Mode, Phase, Shared};
use crate::collect::{self, Output};
use crate::error::{ClientError, TaskError};
use crate::options::OnDrop;

pub(super) type Decode<T> = fn(Vec<u8>) -> Result<T, CodecError>;

/// The receiving end.
pub(super) struct Inbox<T> {
    pub batch: BatchId,
    pub shared: Arc<Shared>,
    deliveries: mpsc::Receiver<Delivery>,
    /// Deliveries that were taken.
    taken: u64,
    /// Outcomes that arrived last.
    pub current: VecDeque<(u64, Output)>,
    decode: Decode<T>,
    /// Why the source has ended early.
    source: Failure,
    on_drop: OnDrop,
    /// Whether dropping it has nothing to cancel any more.
    over: bool,
}

impl<T> Inbox<T> {
    pub fn new(
        batch: BatchId,
        (shared, deliveries): (Arc<Shared>, mpsc::Receiver<Delivery>),
        decode: Decode<T>,
        source: Failure,
        on_drop: OnDrop,
    ) -> Self {
        Self { batch, shared, deliveries, taken: 0, current: VecDeque::new(), decode, source, on_drop, over: false }
    }

    pub fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<(u64, Output), ClientError>>> {
        loop {
            if let Some(outcome) = self.current.pop_front() {
                return Poll::Ready(Some(Ok(outcome)));
            }
            if self.over {
                return Poll::Ready(self.source.take().map(Err));
            }
            let Poll::Ready(delivery) = self.deliveries.poll_recv(context) else {
                self.shared.starve(self.taken);
                return Poll::Pending;
            };
            match delivery {
                Some(Delivery::Outcomes(outcomes, room)) => {
                    drop(room);
                    self.taken += 1;
                    self.current.extend(outcomes);
                }
                Some(Delivery::Failed(error)) => return Poll::Ready(Some(Err(error))),
                Some(Delivery::End) => self.over = true,
                None => {
                    self.over = true;
                    if let Some(error) = self.unexpected_end() {
                        return Poll::Ready(Some(Err(error)));
                    }
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
    pub fn read(&self, index: u64, output: Output) -> Result<T, TaskError> {
        self.shared.give(index);
        collect::read(self.batch.task(index), output, self.decode)
    }

    pub async fn cancel(&self) -> Result<(), ClientError> {
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
    pub async fn part(&mut self, mode: Mode) -> Result<BatchId, ClientError> {
        self.over = true;
        self.shared.mode.send_replace(mode);
        self.deliveries.close();
        let mut phase = self.shared.phase.subscribe();
        let sealed = phase.wait_for(|phase| !matches!(phase, Phase::Starting | Phase::Feeding));
        let parted = tokio::select! {
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
        };
        self.source.take().map_or(parted, Err)
    }

    /// What dropping it does, and waits until that is done.
    pub async fn close(&mut self) {
        self.abandon();
        self.deliveries.close();
        self.driver_gone().await;
    }

    fn abandon(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.shared.mode.send_replace(match self.on_drop {
                OnDrop::Cancel => Mode::Dropped,
                OnDrop::Leave => Mode::Left,
                OnDrop::Detach => Mode::Detached,
            });
        }
    }

    async fn driver_gone(&self) {
        self.shared.mode.closed().await;
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// What an outcome takes, about.
pub(super) fn size(output: &Output) -> usize {
    match output {
        Ok(bytes) => bytes.len(),
        Err(_) => 256,
    }
}
