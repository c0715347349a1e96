//! tick: the agents' heartbeat, and what it finds to do.

use std::time::Duration;

use gristmill_shared::{BatchId, ConsumerId, QueueName, defaults};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;
use crate::reply::Reply;

/// What a tick found.
#[derive(Debug, Clone)]
pub struct Tick {
    /// The time by Redis, epoch ms.
    pub now_ms: u64,
    /// No lease expires before, epoch ms.
    pub grace_until_ms: u64,
    /// Consumers whose lease ran out, at most 64.
    pub expired: Vec<ConsumerId>,
    /// Suspects that nobody judged for 2 s, at most 64 of those after `cursor`: field and stored form.
    pub suspects: Vec<(String, Vec<u8>)>,
    /// Batches to sweep, at most 64.
    pub batches: Vec<BatchId>,
    /// Where the next tick looks for suspects.
    pub cursor: u64,
}

impl Broker {
    /// One heartbeat of an agent that serves `queues`. `cursor` is 0, then what the last tick returned: where
    /// among the suspects to look, so that those which nobody can judge do not hide the others.
    pub async fn tick<C: ConnectionLike>(
        &self,
        conn: &mut C,
        queues: &[QueueName],
        lease: Duration,
        cursor: u64,
    ) -> Result<Tick, BrokerError> {
        let mut script = self.scripts.tick.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.clock()).key(self.keys.leases()).key(self.keys.suspects());
        script.key(self.keys.batches()).key(self.keys.paused());
        script.arg(lease.as_millis() as u64).arg(defaults::LEASE_RANGE.end().as_millis() as u64);
        script.arg(defaults::TICK_GAP.as_millis() as u64);
        script.arg(defaults::DEAD_LETTERS_MAX).arg(defaults::DEAD_LETTERS_AGE.as_millis() as u64).arg(cursor);
        self.write_queues(&mut script, queues);
        let mut reply = Reply::new("tick", script.invoke_async(conn).await?)?;
        let (now_ms, grace_until_ms) = (reply.int()?, reply.int()?);
        Ok(Tick {
            now_ms,
            grace_until_ms,
            expired: parsed(reply.list()?)?,
            suspects: pairs(reply.list()?)?,
            batches: parsed(reply.list()?)?,
            cursor: reply.int()?,
        })
    }
}

/// Members that are no ids were put there by a foreign hand: they are skipped, not fatal.
fn parsed<T: std::str::FromStr>(mut list: Reply) -> Result<Vec<T>, BrokerError> {
    let mut ids = Vec::new();
    while !list.is_empty() {
        ids.extend(text(list.bytes()?).and_then(|id| id.parse().ok()));
    }
    Ok(ids)
}

fn pairs(mut list: Reply) -> Result<Vec<(String, Vec<u8>)>, BrokerError> {
    let mut pairs = Vec::new();
    while !list.is_empty() {
        let (field, value) = (text(list.bytes()?), list.bytes()?);
        pairs.extend(field.map(|field| (field, value)));
    }
    Ok(pairs)
}

fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}
