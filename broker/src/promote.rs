//! promote: scheduled messages that are due become ready.

use gristmill_shared::{QueueName, defaults};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;

/// Bytes moved by one call: more would keep Redis from serving others.
const BYTES_MAX: usize = 8 << 20;

impl Broker {
    /// Moves due messages of a queue to its lanes, up to 1,000 and 8 MiB, and returns how many. Call again
    /// until it returns 0.
    pub async fn promote<C: ConnectionLike>(&self, conn: &mut C, queue: &QueueName) -> Result<u64, BrokerError> {
        let mut script = self.scripts.promote.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.paused());
        self.write_queues(&mut script, std::slice::from_ref(queue));
        script.arg(defaults::CALL_MESSAGES_MAX).arg(BYTES_MAX);
        Ok(script.invoke_async(conn).await?)
    }
}
