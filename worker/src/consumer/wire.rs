//! The connection for everything that does not block, shared by the tasks of one thread.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gristmill_broker::BrokerError;
use gristmill_shared::connection::{ConnectionError, Link, Patience, watch_master};
use redis::aio::MultiplexedConnection;
use tokio::sync::{Mutex, watch};

use crate::slot::Counters;

const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_LAST: Duration = Duration::from_millis(500);

/// The connection, as one call uses it.
struct Line {
    connection: MultiplexedConnection,
    breaks: u64,
    age: u64,
}

/// How much a call carries, and so how long its answer may take on a narrow line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Small,
    Large,
}

/// A link that several tasks of one thread use at once.
pub struct Wire {
    link: Mutex<Link>,
    patience: Arc<Patience>,
    /// How old the connection is, as the patience counts.
    age: Cell<u64>,
    /// Counts broken connections, so that two tasks that see one break drop one connection.
    breaks: watch::Sender<u64>,
    counters: Option<&'static Counters>,
}

impl Wire {
    /// Uses `link`; a consumer counts its calls.
    pub fn new(link: Link, counters: Option<&'static Counters>) -> Self {
        let patience = Arc::new(Patience::new(link.timeouts().response));
        Self { link: Mutex::new(link), patience, age: Cell::new(0), breaks: watch::Sender::new(0), counters }
    }

    /// Connects for the first time, trying for as long as `within`.
    pub async fn reach(&self, within: Duration) -> Result<(), ConnectionError> {
        let mut link = self.link.lock().await;
        link.reach(within).await?;
        watch_master(link.endpoint(), &link.timeouts(), &self.patience);
        Ok(())
    }

    /// How long its answers may take: to be shared by the other connections of the process.
    pub fn patience(&self) -> Arc<Patience> {
        Arc::clone(&self.patience)
    }

    /// How often the connection broke.
    pub fn breaks(&self) -> u64 {
        *self.breaks.borrow()
    }

    /// Repeats the identical call until Redis has answered it, however long that takes.
    pub async fn call<T>(
        &self,
        call: impl AsyncFn(&mut MultiplexedConnection) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        self.repeat(Load::Small, None, call).await
    }

    /// The same for calls that carry megabytes.
    pub async fn call_with_much<T>(
        &self,
        call: impl AsyncFn(&mut MultiplexedConnection) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        self.repeat(Load::Large, None, call).await
    }

    /// The same, but gives up when Redis has been at its memory limit for so long.
    pub async fn call_while_full<T>(
        &self,
        patience: Duration,
        call: impl AsyncFn(&mut MultiplexedConnection) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        self.repeat(Load::Large, Some(patience), call).await
    }

    async fn repeat<T>(
        &self,
        load: Load,
        while_full: Option<Duration>,
        call: impl AsyncFn(&mut MultiplexedConnection) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        let mut backoff = BACKOFF_FIRST;
        let mut full_since: Option<Instant> = None;
        loop {
            if let Some(mut line) = self.line().await {
                if let Some(counters) = self.counters {
                    counters.calls.fetch_add(1, Relaxed);
                }
                match self.attempt(load, &mut line, &call).await {
                    Err(error) if error.wants_new_connection() => self.broke(line.breaks, &error).await,
                    Err(error @ BrokerError::OutOfMemory) => {
                        if full_since.is_none() {
                            tracing::warn!("{error}");
                        }
                        let since = *full_since.get_or_insert_with(Instant::now);
                        if while_full.is_some_and(|patience| since.elapsed() >= patience) {
                            return Err(error);
                        }
                    }
                    Err(error) if error.is_retryable() => tracing::debug!(%error, "Redis cannot do this now"),
                    answer => return answer,
                }
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_LAST);
        }
    }

    /// One attempt. It ends as well when another task finds that the connection is dead.
    async fn attempt<T>(
        &self,
        load: Load,
        line: &mut Line,
        call: &impl AsyncFn(&mut MultiplexedConnection) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        let waits = match load {
            Load::Small => self.patience.now(),
            Load::Large => self.patience.most(),
        };
        line.connection.set_response_timeout(waits);
        let begun = Instant::now();
        let mut broken = self.breaks.subscribe();
        let answer = tokio::select! {
            answer = call(&mut line.connection) => answer,
            _ = broken.wait_for(|&count| count != line.breaks) => Err(lost_meanwhile()),
            () = self.patience.until_doubts(line.age) => Err(lost_meanwhile()),
        };
        match &answer {
            Ok(_) if load == Load::Small => self.patience.answered(begun.elapsed()),
            Err(error) if error.is_timeout() => self.patience.missed(waits, line.age),
            _ => {}
        }
        answer
    }

    async fn line(&self) -> Option<Line> {
        let mut link = self.link.lock().await;
        if !link.is_connected() {
            self.age.set(self.patience.age());
        }
        match link.connection().await {
            Ok(connection) => Some(Line { connection: connection.clone(), breaks: self.breaks(), age: self.age.get() }),
            Err(error) => {
                // A wrong password may be a password that is being changed: a worker that has worked stays.
                link.lost(&error);
                None
            }
        }
    }

    async fn broke(&self, breaks: u64, error: &BrokerError) {
        let mut link = self.link.lock().await;
        if self.breaks() == breaks {
            self.breaks.send_replace(breaks + 1);
            link.lost(error);
        }
    }
}

fn lost_meanwhile() -> BrokerError {
    BrokerError::from(redis::RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe)))
}
