//! Who waits for which batch, on one subscription connection for all.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::hub_driver::Driver;
use crate::connection::{ConnectionError, Endpoint, Patience, Timeouts, watch_master};
use crate::ids::BatchId;
use crate::keys::Keys;

/// What may have happened to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Something: look.
    Look,
    /// The batch of one ended; these are the bytes of its run.
    Outcome(Vec<u8>),
}

/// The last news of a channel. News that nobody read yet are replaced: a hint says only "look".
#[derive(Debug, Default)]
pub(super) struct Signal {
    pub(super) outcome: Option<Vec<u8>>,
}

pub(super) type Ack = oneshot::Sender<Result<watch::Receiver<Signal>, ConnectionError>>;

/// Every `Subscribe` is followed by exactly one `Unsubscribe`, whatever becomes of its answer.
pub(super) enum Command {
    Subscribe { channel: String, ack: Ack },
    Unsubscribe { channel: String },
}

/// One subscription connection, shared by all handles of a client. A background task owns it; it
/// connects when the first batch is waited for, and ends when the last clone is dropped.
#[derive(Clone)]
pub struct Hub {
    commands: mpsc::UnboundedSender<Command>,
    endpoint: Endpoint,
    answers: Arc<Patience>,
    keys: Keys,
}

impl Hub {
    /// Starts the background task.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(endpoint: Endpoint, timeouts: Timeouts, keys: Keys) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let answers = Arc::new(Patience::new(timeouts.response));
        watch_master(&endpoint, &timeouts, &answers);
        tokio::spawn(Driver::new(endpoint.clone(), timeouts, Arc::clone(&answers), receiver).run());
        Self { commands, endpoint, answers, keys }
    }

    /// How long its answers may take: to be shared by all connections of a client.
    pub fn answers(&self) -> Arc<Patience> {
        Arc::clone(&self.answers)
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Subscribes to the news of a batch. When this returns, Redis has confirmed it: what happens from
    /// now on will be told. Waits for as long as Redis cannot be reached.
    pub async fn subscribe(&self, batch: BatchId) -> Result<Subscription, ConnectionError> {
        let channel = self.keys.done(batch);
        let (ack, answer) = oneshot::channel();
        if self.commands.send(Command::Subscribe { channel: channel.clone(), ack }).is_err() {
            return std::future::pending().await; // the runtime is being shut down
        }
        let guard = Guard { channel, commands: self.commands.clone() };
        match answer.await {
            Ok(news) => Ok(Subscription { news: news?, _guard: guard }),
            Err(_) => std::future::pending().await,
        }
    }
}

/// The news of one batch, until it is dropped.
pub struct Subscription {
    news: watch::Receiver<Signal>,
    _guard: Guard,
}

impl Subscription {
    /// Waits for news since the last call. Also returns after the connection was lost, and after it was
    /// established again. May be dropped and called again.
    pub async fn next(&mut self) -> Hint {
        if self.news.changed().await.is_err() {
            return std::future::pending().await; // the runtime is being shut down
        }
        match &self.news.borrow_and_update().outcome {
            Some(run) => Hint::Outcome(run.clone()),
            None => Hint::Look,
        }
    }
}

struct Guard {
    channel: String,
    commands: mpsc::UnboundedSender<Command>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Nobody listens if the runtime is being shut down; then nothing is subscribed either.
        let _ = self.commands.send(Command::Unsubscribe { channel: std::mem::take(&mut self.channel) });
    }
}
