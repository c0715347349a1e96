//! Blobs: arguments and outputs that are too large for a message or a result, in parts.

use std::collections::BTreeSet;
use std::time::Duration;

use gristmill_shared::message::BlobRef;
use gristmill_shared::{BatchId, codec, defaults};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::ending::Dead;
use crate::error::BrokerError;

impl Broker {
    /// Uploads a blob, part by part, and returns what a message or an outcome names it by. Written
    /// again, it is the same: names are never reused for other bytes.
    pub async fn put_blob<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        name: &str,
        bytes: &[u8],
        ttl: Duration,
    ) -> Result<BlobRef, BrokerError> {
        let blob = BlobRef { name: name.to_owned(), bytes: bytes.len() as u64 };
        blob.check()?;
        let ttl_ms = ttl.as_millis() as u64;
        // An empty blob has a part, too: without it, it would count as gone.
        let parts = bytes.chunks(defaults::BLOB_PART_BYTES).chain(bytes.is_empty().then_some(bytes));
        for (key, part) in self.blob_keys(batch, &blob).iter().zip(parts) {
            let _: () = redis::cmd("SET").arg(key).arg(part).arg("PX").arg(ttl_ms).query_async(conn).await?;
        }
        Ok(blob)
    }

    /// Reads a blob; none if a part is gone.
    pub async fn get_blob<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        blob: &BlobRef,
    ) -> Result<Option<Vec<u8>>, BrokerError> {
        blob.check()?;
        let mut bytes = Vec::new();
        for key in self.blob_keys(batch, blob) {
            let part: Option<Vec<u8>> = redis::cmd("GET").arg(key).query_async(conn).await?;
            let Some(part) = part else { return Ok(None) };
            bytes.extend(part);
            codec::check_size("blob", bytes.len(), blob.bytes as usize)?;
        }
        Ok(Some(bytes).filter(|bytes| bytes.len() as u64 == blob.bytes))
    }

    /// Whether all parts of a blob are there.
    pub async fn has_blob<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        blob: &BlobRef,
    ) -> Result<bool, BrokerError> {
        let keys = self.blob_keys(batch, blob);
        let there: usize = redis::cmd("EXISTS").arg(&keys).query_async(conn).await?;
        Ok(there == keys.len())
    }

    /// Deletes parts of blobs that nobody needs any more; those that are gone are skipped.
    pub async fn delete_blobs<C: ConnectionLike>(&self, conn: &mut C, keys: &[String]) -> Result<(), BrokerError> {
        let _: u64 = redis::cmd("UNLINK").arg(keys).query_async(conn).await?;
        Ok(())
    }

    /// Lets the argument blobs of tasks that are about to be buried live as long as a dead letter may; never
    /// shortens a life.
    pub async fn keep_arguments<C: ConnectionLike>(&self, conn: &mut C, dead: &[Dead]) -> Result<(), BrokerError> {
        let age_ms = defaults::DEAD_LETTERS_AGE.as_millis() as i64;
        for key in self.argument_keys(dead) {
            // -1: no TTL, which is longer than any; -2: gone.
            let left_ms: i64 = redis::cmd("PTTL").arg(&key).query_async(conn).await?;
            if (0..age_ms).contains(&left_ms) {
                let _: i64 = redis::cmd("PEXPIRE").arg(&key).arg(age_ms).query_async(conn).await?;
            }
        }
        Ok(())
    }

    /// The keys of all blobs that the letters name, each once: the tasks of a chunk share one.
    fn argument_keys(&self, dead: &[Dead]) -> BTreeSet<String> {
        let blob_of = |dead: &Dead| Some((dead.message.header.batch, dead.message.read_body().ok()?.blob?));
        dead.iter().filter_map(blob_of).flat_map(|(batch, blob)| self.blob_keys(batch, &blob)).collect()
    }

    /// How long the results of a batch stay after it has finished; none if the batch is gone.
    pub async fn result_ttl<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
    ) -> Result<Option<Duration>, BrokerError> {
        let ttl_ms: Option<u64> =
            redis::cmd("HGET").arg(self.keys.batch(batch)).arg("result_ttl_ms").query_async(conn).await?;
        Ok(ttl_ms.map(Duration::from_millis))
    }

    /// The keys of all parts of a blob.
    pub fn blob_keys(&self, batch: BatchId, blob: &BlobRef) -> Vec<String> {
        (0..blob.parts()).map(|part| self.keys.blob(batch, &blob.name, part)).collect()
    }
}
