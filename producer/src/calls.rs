//! Calls to the broker, repeated on a new connection for as long as the client is patient.

use std::time::Duration;

use deadpool::managed::PoolError;
use gristmill_broker::BrokerError;
use gristmill_shared::connection::ConnectionError;
use gristmill_shared::duration::from_now;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep};

use crate::error::ClientError;
use crate::pool::{Pool, Pooled};

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_millis(500);

/// The attempts of one call.
pub(crate) struct Attempts<'a> {
    pool: &'a Pool,
    deadline: Instant,
    pause: Duration,
    /// Whether the call carries megabytes, which takes its time.
    much: bool,
    begun: Instant,
    /// How long the answer to the last attempt may take.
    waits: Duration,
}

impl<'a> Attempts<'a> {
    pub fn new(pool: &'a Pool, patience: Duration) -> Self {
        let (deadline, begun) = (from_now(patience).into(), Instant::now());
        Self { pool, deadline, pause: PAUSE_FIRST, much: false, begun, waits: Duration::ZERO }
    }

    /// For a call that carries megabytes.
    pub fn with_much(mut self) -> Self {
        self.much = true;
        self
    }

    /// A connection from the pool, which knows whether it still answers.
    pub async fn connection(&mut self) -> Result<Pooled, ClientError> {
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

    fn connection_error(&self, error: PoolError<ConnectionError>) -> ConnectionError {
        match error {
            PoolError::Backend(error) => error,
            other => {
                let endpoint = self.pool.manager().endpoint.to_string();
                ConnectionError::Refused { endpoint, why: other.to_string() }
            }
        }
    }

    /// An attempt begins.
    pub fn begin<'c>(&mut self, line: &'c mut Pooled) -> &'c mut MultiplexedConnection {
        let patience = &self.pool.manager().patience;
        self.waits = if self.much { patience.most() } else { patience.now() };
        self.begun = Instant::now();
        line.connection.set_response_timeout(self.waits);
        &mut line.connection
    }

    /// The call was answered.
    pub fn answered(&self) {
        if !self.much {
            self.pool.manager().patience.answered(self.begun.elapsed());
        }
    }

    /// The call failed: returns after a pause if it should be repeated, else with the error.
    pub async fn failed(&mut self, line: Pooled, error: BrokerError) -> Result<(), ClientError> {
        let manager = self.pool.manager();
        if error.is_timeout() {
            manager.patience.missed(self.waits, line.age);
        }
        if error.wants_new_connection() {
            manager.lost(&line);
            // Not back into the pool: its answer may still come.
            drop(Pooled::take(line));
        }
        // At the memory limit the caller should know at once, and decide.
        let again = error.is_retryable() && !matches!(error, BrokerError::OutOfMemory);
        if again && self.wait().await {
            tracing::debug!(%error, "repeating a call to Redis");
            return Ok(());
        }
        Err(ClientError::of(&self.pool.manager().endpoint, error))
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
    ($client:expr, $connection:ident => $call:expr) => {
        $crate::calls::call!(@ $client.attempts(), $connection => $call)
    };
    (with much, $client:expr, $connection:ident => $call:expr) => {
        $crate::calls::call!(@ $client.attempts().with_much(), $connection => $call)
    };
    (@ $attempts:expr, $connection:ident => $call:expr) => {{
        let mut attempts = $attempts;
        loop {
            let mut line = attempts.connection().await?;
            let $connection = attempts.begin(&mut line);
            match $call.await {
                Ok(answer) => {
                    attempts.answered();
                    break answer;
                }
                Err(error) => attempts.failed(line, error).await?,
            }
        }
    }};
}

pub(crate) use call;
