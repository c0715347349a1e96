//! revive: a dead letter becomes a task again.

use std::time::Duration;

use gristmill_shared::codec::CodecError;
use gristmill_shared::dead_letter::DeadLetter;
use gristmill_shared::history::{EarlierEnd, remember};
use gristmill_shared::{Body, Header, Message, TaskId, defaults};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;
use crate::reply::Reply;

/// What became of a revival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revived {
    /// The task is in its queue again.
    Done,
    /// There is no such dead letter (any more).
    Gone,
    /// Its large argument has expired: it cannot run again.
    BlobGone,
    /// The shared input of its batch is gone: it cannot run again.
    SharedGone,
    /// What is kept is no message: it can only be looked at.
    Unreadable,
    /// Its whole batch is cancelled, and others of it have not ended: it would be cancelled with them.
    Cancelled,
}

impl Broker {
    /// Takes a dead letter back to ready: attempt, charges and expiry begin anew, id and history stay.
    pub async fn revive<C: ConnectionLike>(
        &self,
        conn: &mut C,
        task: TaskId,
        letter: &DeadLetter,
    ) -> Result<Revived, BrokerError> {
        let (Ok(message), Some(kind)) = (letter.message(), letter.epitaph.kind()) else {
            return Ok(Revived::Unreadable);
        };
        let Ok(body) = message.read_body() else { return Ok(Revived::Unreadable) };
        let mut blobs = body.blob.as_ref().map(|blob| self.blob_keys(task.batch, blob)).unwrap_or_default();
        let shared = body.shared.as_ref().map(|shared| self.shared_keys(task.batch, shared)).unwrap_or_default();
        blobs.extend_from_slice(&shared);
        let life = |more: Duration| (defaults::MESSAGE_LIFE + more).as_millis() as u64;
        let mut header = message.header;
        (header.attempt, header.crashes, header.losses) = (1, 0, 0);
        header.expires_at_ms = self.redis_time_ms(conn).await? + life(Duration::ZERO);
        let queue = header.queue.clone();
        let message = with_history(header, body, EarlierEnd::of(letter))?;
        let mut script = self.scripts.revive.prepare_invoke();
        script
            .key(self.keys.batch(task.batch))
            .key(self.keys.batches())
            .key(self.keys.queues())
            .key(self.keys.paused())
            .key(self.keys.cancelled());
        script.key(self.queue_keys(&queue).as_slice()).key(blobs);
        script.arg(task.to_string()).arg(task.batch.to_string()).arg(kind.as_str()).arg(&letter.epitaph.kernel);
        script.arg(defaults::RESULT_TTL.as_millis() as u64);
        script.arg(life(defaults::RESULT_TTL + defaults::BLOB_MARGIN));
        script.arg(message).arg(1).arg(queue.as_str()).arg(letter.at_ms);
        let mut reply = Reply::new("revive", script.invoke_async(conn).await?)?;
        match reply.text()?.as_str() {
            "DONE" => Ok(Revived::Done),
            "GONE" => Ok(Revived::Gone),
            "BLOB_GONE" if shared.contains(&reply.text()?) => Ok(Revived::SharedGone),
            "BLOB_GONE" => Ok(Revived::BlobGone),
            "CANCELLED" => Ok(Revived::Cancelled),
            _ => Err(reply.mismatch()),
        }
    }
}

/// The message, with one more end behind it. The oldest are forgotten where it would be too large.
fn with_history(header: Header, mut body: Body, end: EarlierEnd) -> Result<Vec<u8>, CodecError> {
    remember(&mut body.history, end);
    loop {
        match Message::new(header.clone(), &body)?.encode() {
            Err(CodecError::TooLarge { .. }) if !body.history.is_empty() => drop(body.history.remove(0)),
            encoded => return encoded,
        }
    }
}
