//! forget: results that their reader has.

use std::collections::BTreeMap;

use gristmill_shared::message::BlobRef;
use gristmill_shared::{BatchId, Keys, defaults};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;

impl Broker {
    /// Deletes the stored outcomes of the runs that begin at `firsts`, and outputs of theirs which stand in blobs.
    /// Counters and the list of runs stay; another reader learns that the outcome was delivered.
    pub async fn forget<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        firsts: &[u64],
        outputs: &[BlobRef],
    ) -> Result<(), BrokerError> {
        // The blobs first: an outcome names its blob, so that what is left halfway is found again.
        for outputs in outputs.chunks(defaults::CALL_MESSAGES_MAX) {
            self.forget_some(conn, batch, &[], outputs).await?;
        }
        for firsts in firsts.chunks(defaults::CALL_MESSAGES_MAX) {
            self.forget_some(conn, batch, firsts, &[]).await?;
        }
        Ok(())
    }

    async fn forget_some<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        firsts: &[u64],
        outputs: &[BlobRef],
    ) -> Result<(), BrokerError> {
        let mut buckets: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for first in firsts {
            buckets.entry(Keys::bucket_of(*first)).or_default().push(*first);
        }
        let mut script = self.scripts.forget.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.batch(batch)).arg(buckets.len());
        for (bucket, firsts) in buckets {
            script.key(self.keys.results(batch, bucket)).arg(firsts.len()).arg(firsts);
        }
        for output in outputs {
            script.key(self.blob_keys(batch, output));
        }
        let _deleted: u64 = script.invoke_async(conn).await?;
        Ok(())
    }
}
