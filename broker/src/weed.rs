//! weed: a message is taken from where it must not stand.

use gristmill_shared::QueueName;
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;
use crate::fsck::Repaired;

impl Broker {
    /// Takes one copy of `message` out of a list or sorted set of `queue`. What is no message of the queue becomes
    /// a dead letter; a message leaves `counter`.
    pub async fn weed<C: ConnectionLike>(
        &self,
        conn: &mut C,
        key: &str,
        zset: bool,
        queue: &QueueName,
        counter: &str,
        message: &[u8],
    ) -> Result<Repaired, BrokerError> {
        let mut script = self.scripts.weed.prepare_invoke();
        script.key(self.keys.none()).key(key);
        self.write_queues(&mut script, std::slice::from_ref(queue));
        script.arg(message).arg(if zset { "zset" } else { "list" }).arg(counter);
        let status: String = script.invoke_async(conn).await?;
        match status.as_str() {
            "DONE" => Ok(Repaired::Done),
            "GONE" => Ok(Repaired::Gone),
            "LARGE" => Ok(Repaired::Busy),
            other => Err(BrokerError::refused("weed", other)),
        }
    }
}
