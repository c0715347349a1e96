//! Where a task stands that has not ended: a bounded look into the lists.

use gristmill_shared::suspect::message_of;
use gristmill_shared::{BatchId, ConsumerId, KernelName, Lane, Message, QueueName, TaskId};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;

/// Messages of each list that are looked at, from its front; a consumer holds no more than 256.
const LOOKED_AT: isize = 100;
const HELD: isize = 256;
/// Consumers whose messages are looked at.
const CONSUMERS: isize = 64;

/// A message that holds the task that was looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// Where it stands.
    pub place: Place,
    /// The message.
    pub message: Message,
}

/// Where a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A consumer has claimed it.
    Claimed(ConsumerId),
    /// In a lane, behind so many messages.
    Ready(Lane, usize),
    /// It waits for its time, epoch ms.
    Scheduled(u64),
    /// It waits for a worker that knows its kernel.
    Parked,
}

impl Broker {
    /// Looks for a task at the fronts of the lists of its queue and in the hands of some consumers. None: it stands
    /// further back, is being judged, or has ended.
    pub async fn locate<C: ConnectionLike>(
        &self,
        conn: &mut C,
        task: TaskId,
        queue: &QueueName,
        kernel: &str,
    ) -> Result<Option<Located>, BrokerError> {
        let leases: Vec<String> =
            redis::cmd("ZRANGE").arg(self.keys.leases()).arg(0).arg(CONSUMERS - 1).query_async(conn).await?;
        // One after the other: what all of them hold together would be much.
        for consumer in leases.iter().filter_map(|id| id.parse().ok()) {
            let held = list(conn, &self.keys.inflight(consumer), HELD).await?;
            if let Some((_, message)) = find(task, &held) {
                return Ok(Some(Located { place: Place::Claimed(consumer), message }));
            }
        }
        for lane in Lane::ALL {
            let waiting = list(conn, &self.keys.ready(queue, lane), LOOKED_AT).await?;
            if let Some((ahead, message)) = find(task, &waiting) {
                return Ok(Some(Located { place: Place::Ready(lane, ahead), message }));
            }
        }
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.keys.scheduled(queue)).arg(0).arg(LOOKED_AT - 1).arg("WITHSCORES");
        let later: Vec<(Vec<u8>, f64)> = command.query_async(conn).await?;
        let (later, due): (Vec<_>, Vec<_>) = later.into_iter().unzip();
        if let Some((at, message)) = find(task, &later) {
            return Ok(Some(Located { place: Place::Scheduled(due[at] as u64), message }));
        }
        let Ok(kernel) = KernelName::new(kernel) else { return Ok(None) };
        let parked = list(conn, &self.keys.parked_kernel(queue, &kernel), LOOKED_AT).await?;
        Ok(find(task, &parked).map(|(_, message)| Located { place: Place::Parked, message }))
    }
}

impl Broker {
    /// How many tasks of a batch are in the messages that consumers hold, or that wait for a verdict. Of a batch that is
    /// cancelled nothing else can run any more: what is claimed later is only recorded.
    pub async fn held<C: ConnectionLike>(&self, conn: &mut C, batch: BatchId) -> Result<u64, BrokerError> {
        let tasks = |message: &[u8]| match Message::parse(message) {
            Ok(message) if message.header.batch == batch => u64::from(message.header.count),
            Ok(_) | Err(_) => 0,
        };
        let leases: Vec<String> = redis::cmd("ZRANGE").arg(self.keys.leases()).arg(0).arg(-1).query_async(conn).await?;
        let mut held = 0;
        for consumer in leases.iter().filter_map(|id| id.parse().ok()) {
            held +=
                list(conn, &self.keys.inflight(consumer), HELD).await?.iter().map(|bytes| tasks(bytes)).sum::<u64>();
        }
        // Last: what a consumer held that has died meanwhile is here by now.
        let suspects: Vec<Vec<u8>> = redis::cmd("HVALS").arg(self.keys.suspects()).query_async(conn).await?;
        Ok(held + suspects.iter().filter_map(|bytes| message_of(bytes).ok()).map(tasks).sum::<u64>())
    }
}

async fn list<C: ConnectionLike>(conn: &mut C, key: &str, count: isize) -> Result<Vec<Vec<u8>>, BrokerError> {
    Ok(redis::cmd("LRANGE").arg(key).arg(0).arg(count - 1).query_async(conn).await?)
}

/// The message that holds the task, and how many stand before it.
fn find(task: TaskId, messages: &[Vec<u8>]) -> Option<(usize, Message)> {
    let holds =
        |message: &Message| message.header.batch == task.batch && message.header.indices().contains(&task.index);
    let mut read = messages.iter().map(|bytes| Message::parse(bytes).ok());
    let at = read.position(|message| message.as_ref().is_some_and(holds))?;
    Some((at, Message::parse(&messages[at]).ok()?))
}
