//! Large outputs go to blobs before their outcome is settled. A blob is named by consumer, position and
//! attempt, so that nobody overwrites what somebody else's outcome names.

use std::time::Duration;

use gristmill_broker::BrokerError;
use gristmill_shared::defaults::{BLOB_BYTES_MAX, BLOB_MARGIN, INLINE_BYTES_MAX, RESULT_TTL, RUN_BYTES_MAX};
use gristmill_shared::{BatchId, KernelError, OutcomeKind};
use redis::aio::MultiplexedConnection;

use super::inflight::{End, Held};
use super::io::Io;

/// So long an output waits for memory: what is behind it cannot be settled meanwhile.
const FULL_PATIENCE: Duration = Duration::from_secs(5);

/// An output on its way to a blob.
struct Upload {
    serial: u64,
    item: u32,
    batch: BatchId,
    name: String,
    bytes: Vec<u8>,
    /// How long the batch may still wait for this message.
    waits: Duration,
}

/// The end of an item that returned `output`.
pub fn checked(output: Vec<u8>) -> End {
    if output.len() <= BLOB_BYTES_MAX {
        return End::Value(output);
    }
    let text = format!(
        "the output is {} bytes, the limit is {BLOB_BYTES_MAX}: return less, or store it elsewhere",
        output.len()
    );
    End::Attempt(OutcomeKind::Failed, KernelError::fatal(text))
}

/// Uploads what the first `take` messages returned and what is too large for an outcome.
pub async fn upload(io: &Io, take: usize) {
    let uploads = {
        let mut inflight = io.inflight.borrow_mut();
        let (base, now_ms, consumer) = (inflight.base(), io.redis_now_ms(), io.consumer.to_string());
        let messages = inflight.iter_mut().take(take).enumerate();
        messages.flat_map(|(index, held)| large(held, base + index as u64, &consumer, now_ms)).collect::<Vec<_>>()
    };
    let mut patience = FULL_PATIENCE;
    for upload in uploads {
        let Upload { serial, item, batch, name, bytes, waits } = upload;
        let put = async |conn: &mut MultiplexedConnection| {
            // A blob outlives its batch, which may wait for its last message, and then keeps its results.
            let ttl = waits + io.broker.result_ttl(conn, batch).await?.unwrap_or(RESULT_TTL) + BLOB_MARGIN;
            io.broker.put_blob(conn, batch, &name, &bytes, ttl).await
        };
        let put = io.wire.call_while_full(patience, put).await;
        if matches!(put, Err(BrokerError::OutOfMemory)) {
            // The others are tried once each.
            patience = Duration::ZERO;
        }
        let end = match put {
            Ok(blob) => End::Uploaded(blob),
            Err(error) => {
                End::Attempt(OutcomeKind::Failed, KernelError::new(format!("the output cannot be stored: {error}")))
            }
        };
        if let Some(held) = io.inflight.borrow_mut().by_serial(serial) {
            held.ends[item as usize] = Some(end);
        }
    }
}

/// Takes those outputs out of a message that cannot stand in its runs.
fn large(held: &mut Held, position: u64, consumer: &str, now_ms: u64) -> Vec<Upload> {
    let header = held.message.header.clone();
    let mut inline = 0;
    let mut uploads = Vec::new();
    for (item, end) in held.ends.iter_mut().enumerate() {
        let Some(End::Value(value)) = end else { continue };
        if value.len() <= INLINE_BYTES_MAX && inline + value.len() <= RUN_BYTES_MAX {
            inline += value.len();
            continue;
        }
        let index = header.first + item as u64;
        uploads.push(Upload {
            serial: held.serial,
            item: item as u32,
            batch: header.batch,
            name: format!("o{index}.{consumer}.{position}.{}", header.attempt),
            bytes: std::mem::take(value),
            waits: Duration::from_millis(header.expires_at_ms.saturating_sub(now_ms)),
        });
    }
    uploads
}

#[cfg(test)]
mod tests {
    use super::super::testing::held;
    use super::*;

    #[test]
    fn only_large_outputs_are_taken_out() {
        let mut held = held(3, 40, 12);
        held.end(0, End::Value(vec![0; INLINE_BYTES_MAX]));
        held.end(1, End::Value(vec![0; INLINE_BYTES_MAX + 1]));
        for item in 2..12 {
            held.end(item, End::Value(vec![0; INLINE_BYTES_MAX]));
        }
        let uploads = large(&mut held, 5, "c0ffee", 0);
        let names: Vec<_> = uploads.iter().map(|upload| upload.name.as_str()).collect();
        assert_eq!(names, ["o41.c0ffee.5.1", "o49.c0ffee.5.1", "o50.c0ffee.5.1", "o51.c0ffee.5.1"]);
        assert_eq!(uploads[0].waits, Duration::from_millis(held.message.header.expires_at_ms));
        assert_eq!(uploads[0].bytes.len(), INLINE_BYTES_MAX + 1);
    }

    #[test]
    fn an_output_above_the_limit_is_a_failure_that_names_it() {
        let End::Attempt(OutcomeKind::Failed, error) = checked(vec![0; BLOB_BYTES_MAX + 1]) else { panic!("it fails") };
        assert!(error.message().contains("33554433"), "{}", error);
    }
}
