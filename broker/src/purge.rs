//! purge: the first messages of a lane are removed, recorded as cancelled.

use gristmill_shared::codec::CodecError;
use gristmill_shared::{Failure, Lane, Message, Outcome, OutcomeKind, QueueName};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::ending::{Ending, Run};
use crate::error::BrokerError;
use crate::reply::Reply;

/// What became of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// The messages are gone.
    Done,
    /// The lane begins with others by now: look again.
    Changed,
}

impl Broker {
    /// Removes exactly `messages`, if the lane begins with them.
    pub async fn purge<C: ConnectionLike>(
        &self,
        conn: &mut C,
        queue: &QueueName,
        lane: Lane,
        messages: &[Vec<u8>],
    ) -> Result<Purged, BrokerError> {
        let parsed = messages.iter().map(|m| Message::parse(m)).collect::<Result<Vec<_>, CodecError>>()?;
        let ended: Vec<_> = parsed.iter().map(|m| (m.header.batch, m.header.queue.clone())).collect();
        let ending = Ending { runs: parsed.iter().map(cancelled).collect(), ..Ending::default() };
        let mut script = self.scripts.purge.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.ready(queue, lane));
        script.key(self.keys.paused()).key(self.keys.batches());
        script.key(self.keys.cancelled()).key(self.keys.clock());
        script.arg(messages.len()).arg(messages);
        self.write_ending(&mut script, &ending, std::slice::from_ref(queue), &ended)?;
        let mut reply = Reply::new("purge", script.invoke_async(conn).await?)?;
        match reply.text()?.as_str() {
            "DONE" => Ok(Purged::Done),
            "CHANGED" => Ok(Purged::Changed),
            _ => Err(reply.mismatch()),
        }
    }
}

fn cancelled(message: &Message) -> Run {
    let header = &message.header;
    let failure = Failure::new("its queue was purged", header.attempt);
    let outcome = Outcome::Bad(OutcomeKind::Cancelled, failure);
    Run {
        batch: header.batch,
        single: header.is_single(),
        first: header.first,
        outcomes: vec![outcome; header.count as usize],
        times: Vec::new(),
    }
}
