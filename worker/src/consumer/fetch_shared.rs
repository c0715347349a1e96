//! Fetches the shared input of a batch: part by part, between which the lease is renewed, outcomes are settled, and
//! the supervisor is heard.

use std::sync::Arc;

use gristmill_broker::BrokerError;
use gristmill_shared::BatchId;
use gristmill_shared::message::SharedRef;
use gristmill_shared::shared_input::{SharedInput, packing};

use super::inflight::{End, Fate, Held};
use super::io::Io;

/// Keys in one call that deletes.
const DELETED_AT_ONCE: usize = 64;

/// The shared input of batches of one that have succeeded. That of others goes with its batch; this one would wait for
/// its time to live.
pub fn unneeded<'a>(settled: impl Iterator<Item = &'a Held>) -> Vec<(BatchId, SharedRef)> {
    let singles = settled.filter(|held| held.message.header.is_single());
    let succeeded = singles.filter(|held| matches!(held.ends.first(), Some(Some(End::Value(_) | End::Uploaded(_)))));
    let input = |held: &Held| match &held.fate {
        Fate::Run { body, .. } => Some((held.message.header.batch, body.shared.clone()?)),
        _ => None,
    };
    succeeded.filter_map(input).collect()
}

/// Deletes it. What cannot be deleted expires.
pub async fn delete(io: &Io, unneeded: Vec<(BatchId, SharedRef)>) {
    for (batch, shared) in unneeded {
        io.shared.borrow_mut().remove(batch);
        for keys in io.broker.shared_keys(batch, &shared).chunks(DELETED_AT_ONCE) {
            let deleted = io.wire.call(async |conn| io.broker.delete_blobs(conn, keys).await).await;
            if let Err(error) = deleted {
                tracing::debug!(%batch, %error, "shared input that nobody needs stays until it expires");
                break;
            }
        }
    }
}

/// What a task says whose input cannot be had; trying again would be in vain.
fn gone() -> String {
    "its shared input is gone from Redis: it was deleted with its batch, or has expired; submit the batch again"
        .to_owned()
}

/// The shared input of a batch, from the cache or from Redis. `wanted` tells whether a task still waits for it.
pub async fn get(
    io: &Io,
    batch: BatchId,
    shared: &SharedRef,
    wanted: impl Fn() -> bool,
) -> Result<Arc<SharedInput>, String> {
    if let Some(input) = io.shared.borrow_mut().get(batch) {
        return Ok(input);
    }
    io.meter.reserve(shared.bytes);
    let fetched = fetch(io, batch, shared, wanted).await;
    io.meter.unreserve(shared.bytes);
    let input = Arc::new(SharedInput::new(fetched?, io.shared.borrow().gauge()));
    io.shared.borrow_mut().insert(batch, Arc::clone(&input));
    tracing::debug!(%batch, bytes = shared.bytes, stored = shared.stored_bytes(), "fetched shared input");
    Ok(input)
}

/// The whole value; the gauge counts what came.
async fn fetch(io: &Io, batch: BatchId, shared: &SharedRef, wanted: impl Fn() -> bool) -> Result<Vec<u8>, String> {
    let unreadable = |error: BrokerError| format!("its shared input cannot be read: {error}");
    // Whoever finds out only at the last part that one is missing has moved all others in vain, for each task again.
    let missing = io.wire.call(async |conn| io.broker.missing_shared_parts(conn, batch, shared).await).await;
    if !missing.map_err(unreadable)?.is_empty() {
        return Err(gone());
    }
    let mut whole = Vec::new();
    // Only address space: it is taken as parts come, so a message that lies about the size costs nothing.
    let room = whole.try_reserve_exact(shared.bytes as usize);
    room.map_err(|_| format!("its shared input of {} bytes does not fit into this process's memory", shared.bytes))?;
    let gauge = io.shared.borrow().gauge();
    for part in 0..shared.parts() {
        let next = match wanted() {
            true => add_part(io, batch, shared, part, &mut whole).await,
            false => Err("nobody waits for its shared input any more".to_owned()),
        };
        match next {
            Ok(()) => gauge.add(shared.part_bytes(part) as u64),
            Err(why) => {
                gauge.take(whole.len() as u64);
                return Err(why);
            }
        }
    }
    Ok(whole)
}

async fn add_part(io: &Io, batch: BatchId, shared: &SharedRef, part: usize, whole: &mut Vec<u8>) -> Result<(), String> {
    let get = io.wire.call_with_much(async |conn| io.broker.get_shared_part(conn, batch, shared, part).await).await;
    let stored = get.map_err(|error| format!("its shared input cannot be read: {error}"))?.ok_or_else(gone)?;
    if shared.packed_bytes.is_none() {
        whole.extend_from_slice(&stored);
        return Ok(());
    }
    packing::unpack(&stored, shared.part_bytes(part), whole)
        .map_err(|error| format!("its shared input cannot be read: {error}"))
}
