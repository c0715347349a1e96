//! sweep: the end of a batch's life.

use gristmill_shared::{BatchId, defaults, events};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;

/// Buckets, and parts of shared input, deleted by one call.
const KEYS_PER_SLICE: u64 = 64;

/// How far a batch is deleted.
struct Progress {
    buckets: u64,
    parts: u64,
    swept: u64,
}

/// What became of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// It lives on and is looked at again later.
    Kept,
    /// Its client is gone: it was sealed.
    Abandoned,
    /// Some of its keys were deleted: call again.
    Slice,
    /// Nothing of it is left.
    Gone,
    /// It cannot be read, and is looked at again in an hour.
    Bad,
}

impl Broker {
    /// Looks at one batch of several.
    pub async fn sweep<C: ConnectionLike>(&self, conn: &mut C, batch: BatchId) -> Result<Swept, BrokerError> {
        let Progress { buckets, parts, swept } = self.progress(conn, batch).await?;
        let mut script = self.scripts.sweep.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.batches()).key(self.keys.batch(batch));
        script.key(self.keys.runs(batch)).key(self.keys.cancelled());
        for key in swept..(buckets + parts).min(swept + KEYS_PER_SLICE) {
            match key.checked_sub(buckets) {
                None => script.key(self.keys.results(batch, key)),
                Some(part) => script.key(self.shared_key(batch, part as usize)),
            };
        }
        script.arg(batch.to_string()).arg(self.keys.done(batch));
        script.arg(defaults::ABANDONED_AFTER.as_millis() as u64).arg(swept);
        let status: String = script.invoke_async(conn).await?;
        match status.as_str() {
            "KEPT" => Ok(Swept::Kept),
            "SLICE" => Ok(Swept::Slice),
            "ABANDONED" => {
                tracing::warn!(event = events::BATCH_ABANDONED, %batch);
                Ok(Swept::Abandoned)
            }
            "GONE" => {
                tracing::info!(event = events::BATCH_SWEPT, %batch);
                Ok(Swept::Gone)
            }
            "BAD" => {
                tracing::warn!(event = events::BATCH_UNREADABLE, %batch, "its hash cannot be read: see gristmill fsck");
                Ok(Swept::Bad)
            }
            other => Err(BrokerError::refused("sweep", other)),
        }
    }

    /// 0 for what is no number, or too large a one: the script decides about that.
    async fn progress<C: ConnectionLike>(&self, conn: &mut C, batch: BatchId) -> Result<Progress, BrokerError> {
        let mut ask = redis::cmd("HMGET");
        ask.arg(self.keys.batch(batch)).arg(&["tasks", "swept", "shared_parts"]);
        let fields: [Option<Vec<u8>>; 3] = ask.query_async(conn).await?;
        let number = |text: Option<Vec<u8>>| String::from_utf8(text?).ok()?.parse().ok();
        let [tasks, swept, parts] =
            fields.map(|text| number(text).filter(|&number| number <= defaults::INTEGER_MAX).unwrap_or(0));
        Ok(Progress { buckets: tasks.div_ceil(defaults::RESULTS_PER_BUCKET), parts, swept })
    }
}
