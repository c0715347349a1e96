//! cancel: marks, which consumers find when they claim or renew.

use std::collections::BTreeSet;

use gristmill_shared::{BatchId, QueueName, defaults};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::claim::parse_indices;
use crate::error::BrokerError;
use crate::reply::Reply;

/// How many scheduled messages are looked at in one call: each is copied, and may be large. And how many calls are
/// made: beyond two million messages, what is cancelled waits until it is due.
const PAGE: usize = 64;
const PAGES_MAX: usize = 31_250;

/// What became of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// Marked. What has ended stays ended.
    Done,
    /// Everything in it has ended.
    AlreadyFinished,
    /// There is no such batch (any more).
    NoSuchBatch,
    /// The batch has no task of this index.
    NoSuchTask(u64),
    /// Too many single tasks are marked: cancel the batch.
    TooMany,
}

/// The mark of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelMark {
    /// Nothing is cancelled.
    None,
    /// All of it.
    All,
    /// What has not started, and these task indices even if they run.
    Unstarted(Vec<u64>),
    /// The same, because the results of the batch take more than so many bytes.
    OverBudget(u64, Vec<u64>),
    /// These task indices.
    Tasks(Vec<u64>),
}

impl Broker {
    /// Cancels the whole batch (which seals it), or the tasks at `indices`.
    pub async fn cancel<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        indices: Option<&[u64]>,
    ) -> Result<Cancelled, BrokerError> {
        match indices {
            Some([]) => Ok(Cancelled::Done),
            Some(indices) => self.mark_cancelled(conn, batch, "", indices).await,
            None => self.mark_cancelled(conn, batch, "*", &[]).await,
        }
    }

    /// Cancels what has not started of the batch, which seals it. What runs comes to its end.
    pub async fn cancel_unstarted<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
    ) -> Result<Cancelled, BrokerError> {
        self.mark_cancelled(conn, batch, "-", &[]).await
    }

    async fn mark_cancelled<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        wish: &str,
        indices: &[u64],
    ) -> Result<Cancelled, BrokerError> {
        let mut script = self.scripts.cancel.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.batch(batch)).key(self.keys.batches());
        script.key(self.keys.cancelled()).key(self.keys.clock());
        script.arg(batch.to_string()).arg(self.keys.done(batch)).arg(defaults::CANCELLED_TASKS_BYTES_MAX);
        script.arg(wish).arg(indices);
        let mut reply = Reply::new("cancel", script.invoke_async(conn).await?)?;
        match reply.text()?.as_str() {
            "DONE" => Ok(Cancelled::Done),
            "FINISHED" => Ok(Cancelled::AlreadyFinished),
            "NO_BATCH" => Ok(Cancelled::NoSuchBatch),
            "NO_TASK" => Ok(Cancelled::NoSuchTask(reply.int()?)),
            "TOO_MANY" => Ok(Cancelled::TooMany),
            _ => Err(reply.nonsense()),
        }
    }

    /// Lets what is scheduled of a batch and cancelled as a whole be due now, so that it ends soon: a cancel alone
    /// leaves it where it is. Returns how many messages that concerns. To be called after a cancel; without it
    /// they end when they were due anyway.
    pub async fn hasten<C: ConnectionLike>(&self, conn: &mut C, batch: BatchId) -> Result<u64, BrokerError> {
        let queue: Option<String> =
            redis::cmd("HGET").arg(self.keys.batch(batch)).arg("queue").query_async(conn).await?;
        let Some(queue) = queue.and_then(|name| QueueName::new(name).ok()) else { return Ok(0) };
        let (mut cursor, mut hastened, mut met) = ("0".to_owned(), 0, BTreeSet::new());
        for _ in 0..PAGES_MAX {
            let mut script = self.scripts.hasten.prepare_invoke();
            script.key(self.keys.none()).key(self.keys.cancelled()).key(self.keys.scheduled(&queue));
            script.arg(batch.to_string()).arg(&cursor).arg(PAGE);
            let (next, found, wanted, page): (_, u64, usize, Vec<u64>) = script.invoke_async(conn).await?;
            cursor = next;
            hastened += found;
            met.extend(page);
            // Of tasks that were cancelled one by one no more can come once each was met.
            if cursor == "0" || (wanted > 0 && met.len() >= wanted) {
                break;
            }
        }
        Ok(hastened)
    }

    /// The marks of some batches, in their order.
    pub async fn cancelled<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batches: &[BatchId],
    ) -> Result<Vec<CancelMark>, BrokerError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = batches.iter().map(BatchId::to_string).collect();
        let marks: Vec<Option<String>> =
            redis::cmd("HMGET").arg(self.keys.cancelled()).arg(ids).query_async(conn).await?;
        Ok(marks.iter().map(|mark| read_mark(mark.as_deref())).collect())
    }
}

fn read_mark(mark: Option<&str>) -> CancelMark {
    match mark {
        None => CancelMark::None,
        Some("*") => CancelMark::All,
        Some("-") => CancelMark::Unstarted(Vec::new()),
        Some(mark) if mark.starts_with("-,") => CancelMark::Unstarted(parse_indices(&mark[2..]).unwrap_or_default()),
        Some(mark) if mark.starts_with("-!") => {
            let (bytes, indices) = mark[2..].split_once(',').unwrap_or((&mark[2..], ""));
            CancelMark::OverBudget(bytes.parse().unwrap_or(0), parse_indices(indices).unwrap_or_default())
        }
        Some(indices) => parse_indices(indices).map_or(CancelMark::None, CancelMark::Tasks),
    }
}
