//! The connection for everything that does not block, shared by the tasks of one thread.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gristmill_broker::BrokerError;
use gristmill_shared::connection::{ConnectionError, Link};
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use crate::slot::Counters;

const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_LAST: Duration = Duration::from_millis(500);

/// A link that several tasks of one thread use at once.
pub struct Wire {
    link: Mutex<Link>,
    /// Counts broken connections, so that two tasks that see one break drop one connection.
    breaks: Cell<u64>,
    counters: Option<&'static Counters>,
}

impl Wire {
    /// Uses `link`; a consumer counts its calls.
    pub fn new(link: Link, counters: Option<&'static Counters>) -> Self {
        Self { link: Mutex::new(link), breaks: Cell::new(0), counters }
    }

    /// Connects for the first time, trying for as long as `within`.
    pub async fn reach(&self, within: Duration) -> Result<(), ConnectionError> {
        self.link.lock().await.reach(within).await.map(|_| ())
    }

    /// How often the connection broke.
    pub fn breaks(&self) -> u64 {
        self.breaks.get()
    }

    /// Repeats the identical call until Redis has answered it, however long that takes.
    pub async fn call<T>(
        &self,
        call: impl AsyncFn(&mut MultiplexedConnection) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        self.call_while_full(None, call).await
    }

    /// The same, but gives up when Redis has been at its memory limit for `patience`; none: never.
    pub async fn call_while_full<T>(
        &self,
        patience: Option<Duration>,
        call: impl AsyncFn(&mut MultiplexedConnection) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        let mut backoff = BACKOFF_FIRST;
        let mut full_since: Option<Instant> = None;
        loop {
            if let Some((mut connection, breaks)) = self.connection().await {
                if let Some(counters) = self.counters {
                    counters.calls.fetch_add(1, Relaxed);
                }
                match call(&mut connection).await {
                    Err(error) if error.wants_new_connection() => self.broke(breaks, &error).await,
                    Err(error @ BrokerError::OutOfMemory) => {
                        if full_since.is_none() {
                            tracing::warn!("{error}");
                        }
                        let since = *full_since.get_or_insert_with(Instant::now);
                        if patience.is_some_and(|patience| since.elapsed() >= patience) {
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

    async fn connection(&self) -> Option<(MultiplexedConnection, u64)> {
        let mut link = self.link.lock().await;
        match link.connection().await {
            Ok(connection) => Some((connection.clone(), self.breaks.get())),
            Err(error) => {
                // A wrong password may be a password that is being changed: a worker that has worked stays.
                link.lost(&error);
                None
            }
        }
    }

    async fn broke(&self, breaks: u64, error: &BrokerError) {
        let mut link = self.link.lock().await;
        if self.breaks.get() == breaks {
            self.breaks.set(breaks + 1);
            link.lost(error);
        }
    }
}
