//! Waits at the doorbells while the consumer is idle, on a connection of its own.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gristmill_broker::BrokerError;
use gristmill_shared::connection::{ConnectionError, Link, Patience, Timeouts};
use gristmill_shared::defaults::DOORBELL_BLOCK;

use super::io::Io;

const BACKOFF: Duration = Duration::from_millis(300);
/// Before a wait that was refused is tried again.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// Why a wait ended without an answer.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error("another connection to Redis is dead")]
    Doubtful,
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Reports rings for as long as the process lives. A wait that has begun is given up only with its connection:
/// its answer may be a ring, which nobody else would get.
pub async fn listen(io: Rc<Io>, timeouts: Timeouts) {
    let mut bell = Bell {
        link: Link::blocking(io.config.endpoint.clone(), timeouts, DOORBELL_BLOCK),
        patience: io.wire.patience(),
        age: 0,
        refused: false,
    };
    loop {
        while !io.idle.get() {
            io.idle_set.notified().await;
        }
        match bell.wait(&io).await {
            Ok(rang) => {
                bell.refused = false;
                if rang {
                    ring(&io);
                }
            }
            Err(why) => {
                bell.unheard(&io, &why).await;
                // A ring may be lost with the connection.
                ring(&io);
            }
        }
    }
}

struct Bell {
    link: Link,
    /// What an answer may take beyond the time that the wait blocks.
    patience: Arc<Patience>,
    /// How old the connection is, as the patience counts.
    age: u64,
    /// Redis refuses to let us wait, and this was told.
    refused: bool,
}

impl Bell {
    async fn wait(&mut self, io: &Io) -> Result<bool, Unheard> {
        // Half of it is left for a server that has nothing to do but to look at its clock.
        let margin = self.patience.now() / 2;
        if !self.link.is_connected() {
            self.age = self.patience.age();
        }
        let connection = self.link.connection().await?;
        connection.set_response_timeout(DOORBELL_BLOCK + margin);
        let rang = tokio::select! {
            rang = io.broker.wait_doorbell(connection, &io.config.queues, DOORBELL_BLOCK) => rang,
            () = self.patience.until_doubts(self.age) => return Err(Unheard::Doubtful),
        };
        if let Err(error) = &rang
            && error.is_timeout()
        {
            self.patience.missed(2 * margin, self.age);
        }
        Ok(rang?)
    }

    /// Pauses before the next wait, on a new connection where the old one is of no use.
    async fn unheard(&mut self, io: &Io, why: &Unheard) {
        let (lost, later) = match why {
            Unheard::Doubtful | Unheard::Connection(_) => (true, true),
            Unheard::Broker(error) => (error.wants_new_connection(), error.is_retryable()),
        };
        if lost {
            self.link.lost(why);
        }
        if later {
            return tokio::time::sleep(BACKOFF).await;
        }
        if !std::mem::replace(&mut self.refused, true) {
            tracing::error!(consumer = %io.consumer, "waiting for work was refused and is tried again: {why}");
        }
        tokio::time::sleep(AFTER_REFUSAL).await;
    }
}

/// Counts a ring. Until the steps have found nothing again nobody waits at the bells: a consumer that is
/// about to work must not take the next ring, too.
fn ring(io: &Io) {
    io.rings.set(io.rings.get() + 1);
    io.idle.set(false);
    io.nudge.notify_one();
}
