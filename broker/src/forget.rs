//! forget: results that their reader has.

use std::collections::BTreeMap;
use std::ops::Range;

use gristmill_shared::message::BlobRef;
use gristmill_shared::{BatchId, Keys, defaults};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;

/// Whatever run begins there.
const ANY: u64 = 0;

impl Broker {
    /// Deletes the stored outcomes of the runs that begin at `firsts`, and outputs of theirs which stand in blobs.
    /// Counters and the list of runs stay; another reader learns that the outcome was delivered. Returns how many runs were
    /// deleted.
    pub async fn forget<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        firsts: &[u64],
        outputs: &[BlobRef],
    ) -> Result<u64, BrokerError> {
        let runs: Vec<_> = firsts.iter().map(|&first| (first, ANY)).collect();
        self.forget_all(conn, batch, &runs, outputs).await
    }

    /// Deletes a batch of one whose task has ended for good, and its output if that stands in a blob. False: it has not
    /// ended, or there is no such batch.
    pub async fn forget_single<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        output: &[BlobRef],
    ) -> Result<bool, BrokerError> {
        Ok(self.forget_some(conn, batch, &[], output).await? > 0)
    }

    /// The same for runs that a reader has had, each only if it still has these tasks: when Redis came back
    /// with an older state, another run may begin there, with tasks that the reader has not had.
    pub async fn forget_runs<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        runs: &[Range<u64>],
        outputs: &[BlobRef],
    ) -> Result<u64, BrokerError> {
        let runs: Vec<_> = runs.iter().map(|run| (run.start, run.end.saturating_sub(run.start))).collect();
        self.forget_all(conn, batch, &runs, outputs).await
    }

    async fn forget_all<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        runs: &[(u64, u64)],
        outputs: &[BlobRef],
    ) -> Result<u64, BrokerError> {
        // The blobs first: an outcome names its blob, so that what is left halfway is found again.
        for outputs in outputs.chunks(defaults::CALL_MESSAGES_MAX) {
            self.forget_some(conn, batch, &[], outputs).await?;
        }
        let mut deleted = 0;
        for runs in runs.chunks(defaults::CALL_MESSAGES_MAX) {
            deleted += self.forget_some(conn, batch, runs, &[]).await?;
        }
        Ok(deleted)
    }

    async fn forget_some<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        runs: &[(u64, u64)],
        outputs: &[BlobRef],
    ) -> Result<u64, BrokerError> {
        let mut buckets: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for &(first, tasks) in runs {
            buckets.entry(Keys::bucket_of(first)).or_default().push((first, tasks));
        }
        let mut script = self.scripts.forget.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.batch(batch)).arg(buckets.len());
        for (bucket, runs) in buckets {
            script.key(self.keys.results(batch, bucket)).arg(runs.len());
            for (first, tasks) in runs {
                script.arg(first).arg(tasks);
            }
        }
        for output in outputs {
            script.key(self.blob_keys(batch, output));
        }
        Ok(script.invoke_async(conn).await?)
    }
}
