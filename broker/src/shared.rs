//! Shared input: one value for all tasks of a batch, in parts that each consumer fetches once.

use std::time::Duration;

use gristmill_shared::BatchId;
use gristmill_shared::codec::CodecError;
use gristmill_shared::message::SharedRef;
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;

impl Broker {
    /// The keys of all parts.
    pub fn shared_keys(&self, batch: BatchId, shared: &SharedRef) -> Vec<String> {
        (0..shared.parts()).map(|part| self.shared_key(batch, part)).collect()
    }

    pub(crate) fn shared_key(&self, batch: BatchId, part: usize) -> String {
        self.keys.blob(batch, SharedRef::NAME, part)
    }

    /// Uploads one part, as it is to be stored.
    pub async fn put_shared_part<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        part: usize,
        bytes: &[u8],
        ttl: Duration,
    ) -> Result<(), BrokerError> {
        let key = self.shared_key(batch, part);
        Ok(redis::cmd("SET").arg(key).arg(bytes).arg("PX").arg(ttl.as_millis() as u64).query_async(conn).await?)
    }

    /// The numbers of the parts that are gone.
    pub async fn missing_shared_parts<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        shared: &SharedRef,
    ) -> Result<Vec<usize>, BrokerError> {
        let mut pipe = redis::pipe();
        for key in self.shared_keys(batch, shared) {
            pipe.cmd("EXISTS").arg(key);
        }
        let there: Vec<bool> = pipe.query_async(conn).await?;
        Ok(there.iter().enumerate().filter(|(_, there)| !**there).map(|(part, _)| part).collect())
    }

    /// Reads one part as it is stored; none if it is gone. Never reads more than such a part can take, whatever
    /// stands there.
    pub async fn get_shared_part<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        shared: &SharedRef,
        part: usize,
    ) -> Result<Option<Vec<u8>>, BrokerError> {
        let (key, most) = (self.shared_key(batch, part), shared.stored_bytes_max(part));
        // The end is inclusive: one byte more than allowed shows that there is more.
        let bytes: Vec<u8> = redis::cmd("GETRANGE").arg(key).arg(0).arg(most).query_async(conn).await?;
        let fits = if shared.packed_bytes.is_some() { bytes.len() <= most } else { bytes.len() == most };
        match bytes.is_empty() {
            true => Ok(None),
            false if fits => Ok(Some(bytes)),
            false => Err(CodecError::Malformed("a part of the shared input has another size than it should").into()),
        }
    }
}
