//! A dead letter keeps its arguments: a blob that it names lives as long as the letter may.

use std::collections::BTreeMap;

use gristmill_broker::{Broker, BrokerError, Dead};
use gristmill_shared::defaults::DEAD_LETTERS_AGE;
use redis::aio::ConnectionLike;

/// Extends the argument blobs of tasks that are about to be buried; never shortens.
pub async fn keep_arguments<C: ConnectionLike>(
    broker: &Broker,
    conn: &mut C,
    dead: &[Dead],
) -> Result<(), BrokerError> {
    let age_ms = DEAD_LETTERS_AGE.as_millis() as i64;
    for key in blob_keys(broker, dead) {
        // -1: no TTL, which is longer than any; -2: gone.
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(conn).await?;
        if (0..age_ms).contains(&left) {
            let _: i64 = redis::cmd("PEXPIRE").arg(&key).arg(age_ms).query_async(conn).await?;
        }
    }
    Ok(())
}

/// The keys of all blobs that the letters name, each once: the tasks of a chunk share one.
fn blob_keys(broker: &Broker, dead: &[Dead]) -> Vec<String> {
    let mut blobs = BTreeMap::new();
    for message in dead.iter().map(|dead| &dead.message) {
        if let Some(blob) = message.read_body().ok().and_then(|body| body.blob) {
            blobs.insert((message.header.batch, blob.name.clone()), blob);
        }
    }
    blobs.iter().flat_map(|((batch, _), blob)| broker.blob_keys(*batch, blob)).collect()
}
