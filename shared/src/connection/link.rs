use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep};

use super::{ConnectionError, Endpoint, Timeouts, connect};
use crate::duration::from_now;
use crate::events;

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_millis(500);
/// Reasons that are told of one outage.
const REASONS_MAX: usize = 8;

/// A connection that is established again when it broke.
pub struct Link {
    endpoint: Endpoint,
    timeouts: Timeouts,
    connection: Option<MultiplexedConnection>,
    /// Why it broke, and why it could not be established since: each reason once.
    broke: Vec<String>,
}

impl Link {
    /// Connects at the first use.
    pub fn new(endpoint: Endpoint, timeouts: Timeouts) -> Self {
        Self { endpoint, timeouts, connection: None, broke: Vec::new() }
    }

    /// A link for calls that block for up to `block`, and for nothing else.
    pub fn blocking(endpoint: Endpoint, timeouts: Timeouts, block: Duration) -> Self {
        Self::new(endpoint, timeouts.blocking(block))
    }

    /// Where it leads.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How long it waits.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// The connection; one attempt to establish it if there is none.
    pub async fn connection(&mut self) -> Result<&mut MultiplexedConnection, ConnectionError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.endpoint, &self.timeouts).await?,
        };
        if !std::mem::take(&mut self.broke).is_empty() {
            tracing::info!(event = events::REDIS_RECONNECTED, redis = %self.endpoint, "Redis answers again");
        }
        Ok(self.connection.insert(connection))
    }

    /// Whether it holds a connection, which may be broken.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Forgets a connection that is of no use any more. An answer that is still under way is lost,
    /// never mistaken for that of a later call.
    pub fn drop_connection(&mut self) {
        self.connection = None;
    }

    /// The same, and says why in the log: each reason once until it works again.
    pub fn lost(&mut self, error: &dyn Display) {
        self.drop_connection();
        let reason = error.to_string();
        if self.broke.len() < REASONS_MAX && !self.broke.contains(&reason) {
            tracing::warn!(
                event = events::REDIS_DISCONNECTED, redis = %self.endpoint, error = reason,
                "the connection to Redis broke"
            );
            self.broke.push(reason);
        }
    }

    /// The connection; tries again and again, at least once, until it stands or the time is over.
    /// A refusal that will not change (a wrong password) ends it at once.
    pub async fn reach(&mut self, within: Duration) -> Result<&mut MultiplexedConnection, ConnectionError> {
        let mut backoff = Backoff::until(within);
        while let Err(error) = self.connection().await {
            if !error.is_retryable() || !backoff.wait().await {
                return Err(error);
            }
        }
        self.connection().await
    }

    /// Repeats a call that may be repeated, on a new connection each time, for as long as `lost`
    /// says of its error that the connection broke and the time is not over.
    pub async fn retrying<T, E, Call, Answer>(
        &mut self,
        within: Duration,
        lost: impl Fn(&E) -> bool,
        mut call: Call,
    ) -> Result<T, E>
    where
        E: From<ConnectionError> + Display,
        Call: FnMut(MultiplexedConnection) -> Answer,
        Answer: Future<Output = Result<T, E>>,
    {
        let deadline = Instant::from(from_now(within));
        let mut backoff = Backoff::until(within);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let connection = self.reach(left).await?.clone();
            match call(connection).await {
                Err(error) if lost(&error) => {
                    self.lost(&error);
                    if !backoff.wait().await {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        }
    }
}

/// Short pauses that double, until the time is over.
pub(crate) struct Backoff {
    next: Duration,
    deadline: Instant,
}

impl Backoff {
    pub(crate) fn until(within: Duration) -> Self {
        Self { next: BACKOFF_FIRST, deadline: from_now(within).into() }
    }

    /// Waits; `false` without waiting if the time would then be over.
    pub(crate) async fn wait(&mut self) -> bool {
        if Instant::now() + self.next > self.deadline {
            return false;
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(BACKOFF_LAST);
        true
    }
}
