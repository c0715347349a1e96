//! enqueue: exactly once under a client's retries, by sequence number.

use std::time::Duration;

use gristmill_shared::{BatchId, Lane, QueueName, defaults, events};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;
use crate::reply::Reply;

/// The idempotency key of a batch of one: for as long as it is kept, no other batch is enqueued with it.
#[derive(Debug, Clone, Copy)]
pub struct Once<'a> {
    /// The key, as the caller chose it.
    pub key: &'a str,
    /// Tells other work apart that comes with the same key: a word.
    pub digest: &'a str,
    /// How long the key is kept.
    pub window: Duration,
}

/// One call of a batch.
#[derive(Debug, Clone)]
pub struct Enqueue<'a> {
    /// The batch.
    pub batch: BatchId,
    /// Number of the call, from 0, without gaps.
    pub seq: u64,
    /// Whether this is the last call.
    pub seal: bool,
    /// Whether the batch is one task, created and sealed by this call.
    pub single: bool,
    /// The kernel, for people who look at the batch.
    pub kernel: &'a str,
    /// The queue of all its messages.
    pub queue: &'a QueueName,
    /// The lane of all its messages.
    pub lane: Lane,
    /// The encoded messages, at most 1,000; none, to seal only.
    pub messages: &'a [Vec<u8>],
    /// When they become due, epoch ms; now, if absent.
    pub due_at_ms: Option<u64>,
    /// How long results stay after the batch finished.
    pub result_ttl: Duration,
    /// Once the results of the batch take more bytes, what has not started of it ends as cancelled. Not for a batch
    /// of one; fixed by the first call.
    pub result_bytes: u64,
    /// Keys of all parts of the blobs that the messages name.
    pub blobs: &'a [String],
    /// The idempotency key; only of a batch of one.
    pub once: Option<Once<'a>>,
    /// Fields that the first call writes into the batch besides those that the scripts keep there: [`label_field`] and its
    /// value, `key`, `shared_bytes`, `shared_parts`.
    pub fields: &'a [(String, String)],
}

/// The field of a batch that holds this label.
pub fn label_field(name: &str) -> String {
    format!("{LABEL_PREFIX}{name}")
}

/// What the fields of labels begin with.
pub(crate) const LABEL_PREFIX: &str = "label.";

/// What became of an [`Enqueue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// The messages are in the queue.
    Done {
        /// The next call's number.
        next_seq: u64,
    },
    /// They were already: an earlier try of this call had arrived.
    Duplicate {
        /// The next call's number.
        next_seq: u64,
    },
    /// A call before this one is missing: resend from there.
    Gap {
        /// The number that is expected.
        next_seq: u64,
    },
    /// The batch takes no more: it was cancelled or abandoned.
    Sealed,
    /// The batch is gone although this is not its first call.
    Gone,
    /// An argument blob expired before its message arrived.
    BlobGone {
        /// The missing key.
        key: String,
    },
    /// The lane, or for what is due later the scheduled set, is at its depth limit.
    QueueFull {
        /// Messages in it.
        depth: u64,
        /// Its limit.
        limit: u64,
    },
    /// The idempotency key is taken; nothing was enqueued.
    Known {
        /// The batch that took it.
        batch: BatchId,
        /// The digest of that batch's work.
        digest: String,
    },
}

/// As much of a duration as a script can add to a time.
fn milliseconds(duration: Duration) -> u64 {
    const LONGEST_MS: u64 = defaults::INTEGER_MAX / 8;
    u64::try_from(duration.as_millis()).unwrap_or(LONGEST_MS).min(LONGEST_MS)
}

/// Reads what an idempotency key holds: the batch that took it, a space, the digest of its work.
fn known(held: &str) -> Result<(BatchId, String), BrokerError> {
    let foreign =
        || BrokerError::refused("enqueue", format!("the idempotency key holds {held:?}, which is none of ours"));
    let (batch, digest) = held.split_once(' ').ok_or_else(foreign)?;
    Ok((batch.parse().map_err(|_| foreign())?, digest.to_owned()))
}

impl Broker {
    /// Appends messages to a batch, and optionally seals it.
    pub async fn enqueue<C: ConnectionLike>(&self, conn: &mut C, call: &Enqueue<'_>) -> Result<Enqueued, BrokerError> {
        let mut script = self.scripts.enqueue.prepare_invoke();
        script
            .key(self.keys.batch(call.batch))
            .key(self.keys.batches())
            .key(self.keys.queues())
            .key(self.keys.paused())
            .key(call.once.map_or_else(|| self.keys.none(), |once| self.keys.once(once.key)));
        script.key(self.queue_keys(call.queue).as_slice()).key(call.blobs);
        // A message that is due in a month expires later still: the script adds its life to this.
        let blob_margin = call.result_ttl.saturating_add(defaults::BLOB_MARGIN);
        script.arg(call.batch.to_string()).arg(self.keys.done(call.batch)).arg(call.seq);
        script.arg(u8::from(call.seal)).arg(u8::from(call.single)).arg(call.kernel);
        script.arg(1).arg(call.queue.as_str()).arg(call.lane.code() + 1);
        script.arg(call.due_at_ms.map_or(String::new(), |due| due.to_string()));
        script.arg(milliseconds(call.result_ttl)).arg(milliseconds(blob_margin));
        script.arg(defaults::QUEUE_DEPTH_MAX).arg(defaults::ABANDONED_AFTER.as_millis() as u64);
        script.arg(call.result_bytes.min(defaults::INTEGER_MAX));
        script.arg(call.once.map_or(String::new(), |once| format!("{} {}", call.batch, once.digest)));
        script.arg(call.once.map_or(0, |once| milliseconds(once.window).max(1))).arg(call.fields.len());
        for (field, value) in call.fields {
            script.arg(field).arg(value);
        }
        script.arg(call.messages);
        let mut reply = Reply::new("enqueue", script.invoke_async(conn).await?)?;
        let status = reply.text()?;
        let enqueued = match status.as_str() {
            "DONE" => Enqueued::Done { next_seq: reply.int()? },
            "DUPLICATE" => Enqueued::Duplicate { next_seq: reply.int()? },
            "GAP" => Enqueued::Gap { next_seq: reply.int()? },
            "SEALED" => Enqueued::Sealed,
            "GONE" => Enqueued::Gone,
            "BLOB_GONE" => Enqueued::BlobGone { key: reply.text()? },
            "FULL" => Enqueued::QueueFull { depth: reply.int()?, limit: reply.int()? },
            "KNOWN" => {
                let (batch, digest) = known(&reply.text()?)?;
                Enqueued::Known { batch, digest }
            }
            _ => return Err(reply.mismatch()),
        };
        tracing::debug!(event = events::BATCH_ENQUEUED, batch = %call.batch, seq = call.seq, reply = status);
        Ok(enqueued)
    }

    /// The batch that holds an idempotency key now, and the digest of its work. Whether a batch gets the key is decided
    /// by its enqueue call alone; this is for whoever has much to upload before that.
    pub async fn key_holder<C: ConnectionLike>(
        &self,
        conn: &mut C,
        key: &str,
    ) -> Result<Option<(BatchId, String)>, BrokerError> {
        let held: Option<String> = redis::cmd("GET").arg(self.keys.once(key)).query_async(conn).await?;
        held.as_deref().map(known).transpose()
    }

    /// The eight keys of a queue, in the order that every script expects.
    pub(crate) fn queue_keys(&self, queue: &QueueName) -> [String; 8] {
        [
            self.keys.queue(queue),
            self.keys.doorbell(queue),
            self.keys.ready(queue, Lane::High),
            self.keys.ready(queue, Lane::Normal),
            self.keys.ready(queue, Lane::Low),
            self.keys.scheduled(queue),
            self.keys.dead(queue),
            self.keys.dead_records(queue),
        ]
    }
}
