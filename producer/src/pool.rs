//! The connections of one client: a few, whatever the number of callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use gristmill_shared::connection::{ConnectionError, Endpoint, Patience, Timeouts, connect};
use redis::aio::MultiplexedConnection;

use crate::error::ClientError;

/// A few calls at a time.
const POOL_SIZE: usize = 8;
/// A connection that was used so lately needs no question whether it still answers.
const FRESH: Duration = Duration::from_secs(1);

pub(crate) type Pool = managed::Pool<Manager>;
pub(crate) type Pooled = managed::Object<Manager>;

/// Makes connections, and knows those that are of no use any more.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) endpoint: Endpoint,
    /// Shared with the other connections of the client.
    pub(crate) patience: Arc<Patience>,
    timeouts: Timeouts,
    /// Counts losses: where one connection was lost, those that are as old are likely to be lost, too, and each
    /// would cost somebody the time to find out.
    losses: AtomicU64,
}

/// One connection.
pub(crate) struct Line {
    pub(crate) connection: MultiplexedConnection,
    /// Losses when it was made.
    losses: u64,
    /// How old it is, as the patience counts.
    pub(crate) age: u64,
}

impl Manager {
    /// A connection was lost. The others of its age are not used again.
    pub(crate) fn lost(&self, line: &Line) {
        // Failing, somebody else has told already.
        let _ = self.losses.compare_exchange(line.losses, line.losses + 1, Relaxed, Relaxed);
    }
}

impl managed::Manager for Manager {
    type Type = Line;
    type Error = ConnectionError;

    async fn create(&self) -> Result<Line, ConnectionError> {
        let (losses, age) = (self.losses.load(Relaxed), self.patience.age());
        // In a box: it is rare and large, and every call to the broker would hold room for it.
        let connection = Box::pin(connect(&self.endpoint, &self.timeouts)).await?;
        Ok(Line { connection, losses, age })
    }

    async fn recycle(&self, line: &mut Line, metrics: &Metrics) -> RecycleResult<ConnectionError> {
        if line.losses != self.losses.load(Relaxed) || self.patience.doubts(line.age) {
            return Err(RecycleError::message("a connection of its age was lost"));
        }
        if metrics.last_used() < FRESH {
            return Ok(());
        }
        let (begun, waits) = (Instant::now(), self.patience.now());
        line.connection.set_response_timeout(waits);
        match Box::pin(redis::cmd("PING").query_async::<()>(&mut line.connection)).await {
            Ok(()) => {
                self.patience.answered(begun.elapsed());
                Ok(())
            }
            Err(error) => {
                self.lost(line);
                if error.is_timeout() {
                    self.patience.missed(waits, line.age);
                }
                Err(ConnectionError::of(&self.endpoint, &error).into())
            }
        }
    }
}

/// A pool, which connects when it is first used.
pub(crate) fn pool(endpoint: &Endpoint, timeouts: &Timeouts, patience: Arc<Patience>) -> Result<Pool, ClientError> {
    let manager = Manager { endpoint: endpoint.clone(), patience, timeouts: *timeouts, losses: AtomicU64::new(0) };
    Pool::builder(manager)
        .max_size(POOL_SIZE)
        .build()
        .map_err(|error| ClientError::Local(format!("the connection pool cannot be built: {error}")))
}
