//! join, renew, leave: a consumer's lease.

use std::time::Duration;

use gristmill_shared::{ConsumerId, QueueName};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;
use crate::reply::Reply;

/// The answer to a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The lease goes on.
    Yes {
        /// Changes with every cancel: look at the marks of the batches in flight when it differs.
        cancel_epoch: u64,
    },
    /// It was reclaimed: everything in flight belongs to others.
    LeaseLost,
}

/// The answer to a leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The lease is given up.
    Done,
    /// Messages are still in flight: nothing changed.
    InFlight,
    /// There was no lease (any more).
    LeaseLost,
}

impl Broker {
    /// Gives a new consumer its lease. False: this id has already worked.
    pub async fn join<C: ConnectionLike>(
        &self,
        conn: &mut C,
        consumer: ConsumerId,
        worker: &str,
        lease: Duration,
    ) -> Result<bool, BrokerError> {
        let mut script = self.scripts.join.prepare_invoke();
        script.key(self.lease_keys(consumer).as_slice());
        script.arg(consumer.to_string()).arg(worker).arg(lease.as_millis() as u64);
        let status: String = script.invoke_async(conn).await?;
        Ok(status == "DONE")
    }

    /// Extends a lease.
    pub async fn renew<C: ConnectionLike>(
        &self,
        conn: &mut C,
        consumer: ConsumerId,
        lease: Duration,
    ) -> Result<Renewed, BrokerError> {
        let mut script = self.scripts.renew.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.leases()).key(self.keys.clock());
        script.arg(consumer.to_string()).arg(lease.as_millis() as u64);
        let mut reply = Reply::new("renew", script.invoke_async(conn).await?)?;
        match reply.text()?.as_str() {
            "DONE" => Ok(Renewed::Yes { cancel_epoch: reply.int()? }),
            _ => Ok(Renewed::LeaseLost),
        }
    }

    /// Gives a lease up, with nothing in flight.
    pub async fn leave<C: ConnectionLike>(&self, conn: &mut C, consumer: ConsumerId) -> Result<Left, BrokerError> {
        let mut script = self.scripts.leave.prepare_invoke();
        script.key(self.lease_keys(consumer).as_slice()).arg(consumer.to_string());
        let status: String = script.invoke_async(conn).await?;
        Ok(match status.as_str() {
            "DONE" => Left::Done,
            "INFLIGHT" => Left::InFlight,
            _ => Left::LeaseLost,
        })
    }

    /// Waits at the doorbells of `queues`; true if one rang. `conn` must allow answers to take `block`
    /// and longer, and must not be shared.
    pub async fn wait_doorbell<C: ConnectionLike>(
        &self,
        conn: &mut C,
        queues: &[QueueName],
        block: Duration,
    ) -> Result<bool, BrokerError> {
        let bells: Vec<_> = queues.iter().map(|queue| self.keys.doorbell(queue)).collect();
        let rang: Option<(String, String)> =
            redis::cmd("BLPOP").arg(bells).arg(block.as_secs_f64()).query_async(conn).await?;
        Ok(rang.is_some())
    }

    /// How many consumers hold a lease.
    pub async fn live_consumers<C: ConnectionLike>(&self, conn: &mut C) -> Result<u64, BrokerError> {
        Ok(redis::cmd("ZCARD").arg(self.keys.leases()).query_async(conn).await?)
    }

    /// Changes with every cancel, as what a renewal answers.
    pub async fn cancel_epoch<C: ConnectionLike>(&self, conn: &mut C) -> Result<u64, BrokerError> {
        let epoch: Option<u64> =
            redis::cmd("HGET").arg(self.keys.clock()).arg("cancel_epoch").query_async(conn).await?;
        Ok(epoch.unwrap_or(0))
    }

    fn lease_keys(&self, consumer: ConsumerId) -> [String; 4] {
        [self.keys.none(), self.keys.leases(), self.keys.consumer(consumer), self.keys.inflight(consumer)]
    }
}
