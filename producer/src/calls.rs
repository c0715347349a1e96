//! Calls to the broker, repeated on a new connection for as long as the client is patient.

use std::time::Duration;

use deadpool_redis::{Connection, Pool, PoolError};
use gristmill_broker::BrokerError;
use gristmill_shared::connection::{ConnectionError, Endpoint};
use gristmill_shared::duration::from_now;
use tokio::time::{Instant, sleep};

use crate::error::ClientError;

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_millis(500);

/// The attempts of one call.
pub(crate) struct Attempts<'a> {
    pool: &'a Pool,
    endpoint: &'a Endpoint,
    deadline: Instant,
    pause: Duration,
}

impl<'a> Attempts<'a> {
    pub fn new(pool: &'a Pool, endpoint: &'a Endpoint, patience: Duration) -> Self {
        Self { pool, endpoint, deadline: from_now(patience).into(), pause: PAUSE_FIRST }
    }

    /// A connection from the pool, which checks that it still answers.
    pub async fn connection(&mut self) -> Result<Connection, ClientError> {
        loop {
            let error = match self.pool.get().await {
                Ok(connection) => return Ok(connection),
                Err(error) => self.connection_error(error),
            };
            if !error.is_retryable() || !self.wait().await {
                return Err(error.into());
            }
        }
    }

    fn connection_error(&self, error: PoolError) -> ConnectionError {
        match error {
            PoolError::Backend(error) => ConnectionError::of(self.endpoint, &error),
            other => ConnectionError::Refused { endpoint: self.endpoint.to_string(), why: other.to_string() },
        }
    }

    /// The call failed: returns after a pause if it should be repeated, else with the error.
    pub async fn failed(&mut self, connection: Connection, error: BrokerError) -> Result<(), ClientError> {
        if error.wants_new_connection() {
            // Not back into the pool: its answer may still come.
            drop(Connection::take(connection));
        }
        // At the memory limit the caller should know at once, and decide.
        let again = error.is_retryable() && !matches!(error, BrokerError::OutOfMemory);
        if again && self.wait().await {
            tracing::debug!(%error, "repeating a call to Redis");
            return Ok(());
        }
        Err(ClientError::of(self.endpoint, error))
    }

    async fn wait(&mut self) -> bool {
        if Instant::now() + self.pause > self.deadline {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_LAST);
        true
    }
}

/// Repeats the identical call until it is answered, refused, or the client's patience is over.
/// A macro, because a closure that lends its connection to a future cannot promise that it is `Send`.
macro_rules! call {
    ($client:expr, $connection:ident => $call:expr) => {{
        let mut attempts = $client.attempts();
        loop {
            let mut connection = attempts.connection().await?;
            let $connection = &mut connection;
            match $call.await {
                Ok(answer) => break answer,
                Err(error) => attempts.failed(connection, error).await?,
            }
        }
    }};
}

pub(crate) use call;
