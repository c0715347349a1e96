//! reclaim: everything that a dead consumer held, by the cause of its death.

use gristmill_shared::{Certificate, ConsumerId, DeathCause, QueueName, codec, defaults, events};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;
use crate::reply::Reply;

/// What is known of a consumer's end.
#[derive(Debug, Clone)]
pub enum DeathReport {
    /// Its own supervisor saw it die while it ran the message at `position`.
    Died {
        /// Position of the message.
        position: u64,
        /// The certificate; its `item` says which task ran.
        certificate: Certificate,
    },
    /// Its own supervisor saw it die, and it ran nothing.
    Idle,
    /// We ended it: everything goes back uncounted.
    Ordered,
    /// Nobody saw it; its lease ran out.
    Expired,
}

/// What became of the consumer's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reclaimed {
    /// They were taken.
    Done {
        /// Fields of the suspects, to be judged.
        suspects: Vec<String>,
        /// Tasks that went back to their lanes.
        returned: u64,
    },
    /// The consumer has no lease (any more).
    Gone,
    /// Its lease has not run out, or Redis was away and grace is granted.
    NotExpired,
}

impl Broker {
    /// Takes everything from a dead consumer. `queues` is a guess at the queues that it served; the
    /// script names those that are missing.
    pub async fn reclaim<C: ConnectionLike>(
        &self,
        conn: &mut C,
        consumer: ConsumerId,
        why: &DeathReport,
        queues: &[QueueName],
    ) -> Result<Reclaimed, BrokerError> {
        let mut queues = queues.to_vec();
        loop {
            let mut reply = self.try_reclaim(conn, consumer, why, &queues).await?;
            match reply.text()?.as_str() {
                "DONE" => {
                    let returned = reply.int()?;
                    let mut suspects = Vec::new();
                    while !reply.is_empty() {
                        suspects.push(reply.text()?);
                    }
                    let (event, count) = (events::CONSUMER_RECLAIMED, suspects.len());
                    tracing::info!(event, %consumer, suspects = count, returned);
                    return Ok(Reclaimed::Done { suspects, returned });
                }
                "GONE" => return Ok(Reclaimed::Gone),
                "NOT_EXPIRED" => return Ok(Reclaimed::NotExpired),
                "NEED_KEYS" => add_queues(&mut queues, &mut reply)?,
                _ => return Err(reply.mismatch()),
            }
        }
    }

    async fn try_reclaim<C: ConnectionLike>(
        &self,
        conn: &mut C,
        consumer: ConsumerId,
        why: &DeathReport,
        queues: &[QueueName],
    ) -> Result<Reply, BrokerError> {
        let unseen =
            Certificate::unseen(DeathCause::Loss, consumer.to_string(), "its lease ran out and nobody saw it die");
        let (cause, position, certificate) = match why {
            DeathReport::Died { position, certificate } => ("died", position.to_string(), certificate),
            DeathReport::Idle => ("idle", String::new(), &unseen),
            DeathReport::Ordered => ("ordered", String::new(), &unseen),
            DeathReport::Expired => ("expired", String::new(), &unseen),
        };
        let mut script = self.scripts.reclaim.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.leases()).key(self.keys.paused());
        script.key(self.keys.consumer(consumer)).key(self.keys.inflight(consumer));
        script.key(self.keys.suspects()).key(self.keys.clock());
        script.arg(consumer.to_string()).arg(cause).arg(position).arg(codec::encode(certificate)?);
        script.arg(defaults::TICK_GAP.as_millis() as u64);
        self.write_queues(&mut script, queues);
        Reply::new("reclaim", script.invoke_async(conn).await?)
    }
}

/// Adds the queues that the script missed; each turn adds at least one that was not there.
fn add_queues(queues: &mut Vec<QueueName>, reply: &mut Reply) -> Result<(), BrokerError> {
    let before = queues.len();
    while !reply.is_empty() {
        let queue = QueueName::new(reply.text()?).map_err(|_| reply.nonsense())?;
        if !queues.contains(&queue) {
            queues.push(queue);
        }
    }
    if queues.len() == before { Err(reply.nonsense()) } else { Ok(()) }
}
