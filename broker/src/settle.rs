//! settle: outcomes in, next messages out, in one call.

use gristmill_shared::{BatchId, QueueName};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::claim::{Budget, Call, Claim, Sources, read_claim};
use crate::ending::Ending;
use crate::error::BrokerError;

/// How the oldest messages in flight ended.
#[derive(Debug, Clone, Default)]
pub struct Settlement {
    /// Batch and queue of each message that is taken off the head, in order.
    pub take: Vec<(BatchId, QueueName)>,
    /// Covers exactly the tasks of those messages.
    pub ending: Ending,
}

impl Broker {
    /// Takes done messages off the head of the in-flight list, records how they ended, and claims the
    /// next ones.
    pub async fn settle<C: ConnectionLike>(
        &self,
        conn: &mut C,
        call: &Call,
        what: &Settlement,
        sources: &Sources,
        budget: Budget,
    ) -> Result<Claim, BrokerError> {
        let mut script = self.scripts.settle.prepare_invoke();
        script.key(self.fenced_keys(call.consumer).as_slice()).key(self.keys.batches()).key(self.keys.clock());
        call.write(&mut script);
        script.arg(what.take.len());
        let declared = self.write_ending(&mut script, &what.ending, &sources.queues, &what.take)?;
        self.write_sources(&mut script, sources, &declared, budget)?;
        read_claim("settle", script.invoke_async(conn).await?)
    }
}
