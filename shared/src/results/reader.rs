//! Reads that survive a lost connection.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::items::{Blob, Item};
use super::{Hub, ResultsError, Subscription};
use crate::connection::{Backoff, ConnectionError, Link, Patience, is_connection_lost};
use crate::ids::BatchId;
use crate::keys::Keys;
use crate::message::BlobRef;
use crate::outcome::Outcome;

/// One connection for all collectors of a client. Its calls do not wait for each other.
#[derive(Clone)]
pub(super) struct Reader {
    shared: Arc<Mutex<Shared>>,
    /// How long an answer may take.
    answers: Arc<Patience>,
    pub(super) keys: Keys,
    pub(super) patience: Duration,
}

struct Shared {
    link: Link,
    /// Counts connections, so that whoever still holds the last one does not drop its successor.
    generation: u64,
    /// How old the connection is, as the patience counts.
    age: u64,
}

impl Reader {
    pub(super) fn new(link: Link, answers: Arc<Patience>, keys: Keys, patience: Duration) -> Self {
        Self { shared: Arc::new(Mutex::new(Shared { link, generation: 0, age: 0 })), answers, keys, patience }
    }

    /// Asks, and asks again on a new connection for as long as the patience lasts.
    pub(super) async fn ask<T: FromRedisValue>(&self, question: &Pipeline) -> Result<T, ResultsError> {
        self.insist(question, false).await
    }

    /// `much`: the answer carries megabytes, which takes its time.
    async fn insist<T: FromRedisValue>(&self, question: &Pipeline, much: bool) -> Result<T, ResultsError> {
        let mut backoff = Backoff::until(self.patience);
        loop {
            match self.attempt(question, much).await {
                Err(error) if error.is_retryable() => {
                    if !backoff.wait().await {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        }
    }

    async fn attempt<T: FromRedisValue>(&self, question: &Pipeline, much: bool) -> Result<T, ResultsError> {
        let (mut connection, generation, age) = self.connection().await?;
        let (begun, waits) = (Instant::now(), if much { self.answers.most() } else { self.answers.now() });
        connection.set_response_timeout(waits);
        let answer = tokio::select! {
            answer = question.query_async(&mut connection) => answer,
            () = self.answers.until_doubts(age) => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
        };
        match &answer {
            Ok(_) if !much => self.answers.answered(begun.elapsed()),
            Err(error) if error.is_timeout() => self.answers.missed(waits, age),
            _ => {}
        }
        if let Err(error) = &answer
            && is_connection_lost(error)
        {
            let mut shared = self.shared.lock().await;
            if shared.generation == generation {
                shared.link.lost(error);
                shared.generation += 1;
            }
        }
        Ok(answer?)
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64, u64), ResultsError> {
        let mut shared = self.shared.lock().await;
        if self.answers.doubts(shared.age) {
            shared.link.drop_connection();
            shared.generation += 1;
            shared.age = self.answers.age();
        }
        let connection = shared.link.connection().await?.clone();
        Ok((connection, shared.generation, shared.age))
    }

    /// Subscribes to the news of a batch, if that is possible in time.
    pub(super) async fn subscribe(&self, hub: &Hub, batch: BatchId) -> Result<Subscription, ResultsError> {
        match timeout(self.patience, hub.subscribe(batch)).await {
            Ok(subscription) => Ok(subscription?),
            Err(_) => Err(ConnectionError::no_answer(hub.endpoint(), self.patience).into()),
        }
    }

    /// Reads the blob in which the output of an item stands, if it stands in one.
    pub(super) async fn output(&self, batch: BatchId, item: &Item) -> Result<Blob, ResultsError> {
        match item {
            Item::Outcome(_, Outcome::Blob(blob), _) => Ok(Some(self.blob(batch, blob).await?)),
            _ => Ok(None),
        }
    }

    /// The bytes of a blob; none if a part of it is gone.
    pub(super) async fn blob(&self, batch: BatchId, blob: &BlobRef) -> Result<Option<Vec<u8>>, ResultsError> {
        // The size was checked when the reference was read, so it is bounded.
        let mut bytes = Vec::new();
        for part in 0..blob.parts() {
            let mut question = Pipeline::with_capacity(1);
            question.get(self.keys.blob(batch, &blob.name, part));
            let (part,): (Option<Vec<u8>>,) = self.insist(&question, true).await?;
            match part {
                Some(part) if bytes.len() + part.len() <= blob.bytes as usize => bytes.extend(part),
                _ => return Ok(None),
            }
        }
        Ok(Some(bytes).filter(|bytes| bytes.len() as u64 == blob.bytes))
    }
}
