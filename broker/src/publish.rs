//! What workers publish of themselves. Readers read; workers are never asked.

use std::time::Duration;

use gristmill_shared::{KernelName, defaults};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;

impl Broker {
    /// Replaces the record of a worker; it vanishes `ttl` after the last call. Tells whether there was one.
    pub async fn publish_worker<C: ConnectionLike>(
        &self,
        conn: &mut C,
        worker: &str,
        fields: &[(String, String)],
        ttl: Duration,
    ) -> Result<bool, BrokerError> {
        let key = self.keys.worker(worker);
        let mut pipe = redis::pipe();
        pipe.atomic().del(&key);
        pipe.hset_multiple(&key, fields).ignore();
        pipe.pexpire(&key, ttl.as_millis() as i64).ignore();
        let (removed,): (u64,) = pipe.query_async(conn).await?;
        Ok(removed > 0)
    }

    /// Offers kernels: name and JSON description (`doc`, `args_schema`, `options`). Drops those that nobody
    /// has offered for a week.
    pub async fn publish_kernels<C: ConnectionLike>(
        &self,
        conn: &mut C,
        kernels: &[(KernelName, String)],
    ) -> Result<(), BrokerError> {
        let now_ms = self.redis_time_ms(conn).await?;
        let key = self.keys.kernels();
        let oldest_ms = now_ms.saturating_sub(defaults::KERNEL_LISTED.as_millis() as u64);
        let stale: Vec<String> = self
            .kernels(conn)
            .await?
            .into_iter()
            .filter(|kernel| kernel.last_seen_ms < oldest_ms)
            .map(|kernel| kernel.name.to_string())
            .collect();
        let mut pipe = redis::pipe();
        for (name, info) in kernels {
            pipe.hset(&key, name.as_str(), format!("{now_ms} {info}")).ignore();
        }
        if !stale.is_empty() {
            pipe.hdel(&key, stale).ignore();
        }
        pipe.pexpire(&key, defaults::KERNEL_LISTED.as_millis() as i64).ignore();
        let _: () = pipe.query_async(conn).await?;
        Ok(())
    }
}
