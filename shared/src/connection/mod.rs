//! The one connection module: where Redis is, how to reach it, and how long to wait for it.
//!
//! Every connection has a connect timeout and a response timeout. After a timeout the answer may
//! still come, so the connection is dropped and the identical call repeated on a new one: every
//! call of the broker may be repeated.

mod endpoint;
mod error;
mod link;
mod patience;
mod route;
mod sentinel;
mod sentinel_watch;
mod url;

use std::future::Future;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisResult};

use crate::defaults::{BLOCK_MARGIN, CONNECT_TIMEOUT, RESPONSE_TIMEOUT};

pub use endpoint::Endpoint;
pub use error::{ConnectionError, first_error, is_connection_lost, is_demoted, is_not_ready};
#[cfg(feature = "results")]
pub(crate) use link::Backoff;
pub use link::Link;
pub use patience::Patience;
pub use sentinel_watch::watch_master;

use endpoint::Way;

/// How long to wait for Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Longest time until a connection is established and answers.
    pub connect: Duration,
    /// Longest time until a call that does not block is answered.
    pub response: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: CONNECT_TIMEOUT, response: RESPONSE_TIMEOUT }
    }
}

impl Timeouts {
    /// The same for calls that block for up to `block`.
    pub fn blocking(self, block: Duration) -> Self {
        Self { response: block + BLOCK_MARGIN, ..self }
    }

    /// What the Redis crate has to be told; its own default would give up after 500 ms.
    pub fn config(self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect))
            .set_response_timeout(Some(self.response))
    }
}

/// Connects and sees that Redis answers, all within the connect timeout. Where sentinels have to be asked, it is
/// the master that answers.
pub async fn connect(endpoint: &Endpoint, timeouts: &Timeouts) -> Result<MultiplexedConnection, ConnectionError> {
    within_connect(endpoint, timeouts, async {
        match endpoint.way(timeouts) {
            Way::Straight(info) => open(*info, timeouts).await.map_err(|error| ConnectionError::of(endpoint, &error)),
            Way::Ask(sentinels) => Ok(sentinel::master(endpoint, sentinels, timeouts).await?.1),
        }
    })
    .await
}

async fn within_connect<T>(
    endpoint: &Endpoint,
    timeouts: &Timeouts,
    connected: impl Future<Output = Result<T, ConnectionError>>,
) -> Result<T, ConnectionError> {
    let timed = tokio::time::timeout(timeouts.connect, connected).await;
    timed.unwrap_or_else(|_| Err(ConnectionError::no_answer(endpoint, timeouts.connect)))
}

async fn open(info: ConnectionInfo, timeouts: &Timeouts) -> RedisResult<MultiplexedConnection> {
    let mut connection = Client::open(info)?.get_multiplexed_async_connection_with_config(&timeouts.config()).await?;
    // Only a command tells that Redis demands a password or is still loading.
    redis::cmd("PING").query_async::<()>(&mut connection).await?;
    Ok(connection)
}

/// A connection for calls that block for up to `block`. Nothing else may run on it: every other call
/// would wait behind the one that blocks.
pub async fn connect_blocking_lane(
    endpoint: &Endpoint,
    timeouts: &Timeouts,
    block: Duration,
) -> Result<MultiplexedConnection, ConnectionError> {
    connect(endpoint, &timeouts.blocking(block)).await
}

/// A client that leads to the server itself, for subscriptions. Where sentinels have to be asked, they are.
#[cfg(feature = "results")]
pub(crate) async fn client(endpoint: &Endpoint, timeouts: &Timeouts) -> Result<Client, ConnectionError> {
    let info = match endpoint.way(timeouts) {
        Way::Straight(info) => *info,
        Way::Ask(sentinels) => {
            within_connect(endpoint, timeouts, sentinel::master(endpoint, sentinels, timeouts)).await?.0
        }
    };
    Client::open(info).map_err(|error| ConnectionError::of(endpoint, &error))
}
