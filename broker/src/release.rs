//! release: unstarted messages go back to the front of their lanes.

use gristmill_shared::{Message, QueueName};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::claim::{Call, Claim, read_claim};
use crate::error::BrokerError;

/// What goes back.
#[derive(Debug, Clone, Default)]
pub struct Release {
    /// Everything at this position and behind it.
    pub from: u64,
    /// A message before it that is cut: its position and its started part, which stays.
    pub started: Option<(u64, Message)>,
    /// What follows the started part, in pieces.
    pub rests: Vec<Message>,
    /// The queues of everything that goes back.
    pub queues: Vec<QueueName>,
}

impl Broker {
    /// Gives unstarted messages back, uncounted.
    pub async fn release<C: ConnectionLike>(
        &self,
        conn: &mut C,
        call: &Call,
        what: &Release,
    ) -> Result<Claim, BrokerError> {
        let mut script = self.scripts.release.prepare_invoke();
        script.key(self.fenced_keys(call.consumer).as_slice());
        call.write(&mut script);
        script.arg(what.from);
        match &what.started {
            Some((position, part)) => script.arg(*position).arg(part.encode()?),
            None => script.arg("").arg(""),
        };
        self.write_queues(&mut script, &what.queues);
        script.arg(what.rests.len());
        for rest in &what.rests {
            script.arg(rest.encode()?);
        }
        read_claim("release", script.invoke_async(conn).await?)
    }
}
