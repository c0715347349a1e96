//! manage: pauses and resumes queues, and limits their depth.

use gristmill_shared::QueueName;
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;
use crate::reply::Reply;

/// What an operator wants of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Claims skip it, and nothing rings for it. What runs goes on, and enqueueing does.
    Pause,
    /// No longer.
    Resume,
    /// It holds at most so many messages in each lane and in its scheduled set; none: the default.
    Limit(Option<u64>),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Managed {
    /// It is so now, or was already.
    Done,
    /// Nobody has used a queue of this name.
    UnknownQueue,
}

impl Broker {
    /// Does it; a queue that nobody has used only with `unused`.
    pub async fn manage<C: ConnectionLike>(
        &self,
        conn: &mut C,
        queue: &QueueName,
        wish: Wish,
        unused: bool,
    ) -> Result<Managed, BrokerError> {
        let (word, limit) = match wish {
            Wish::Pause => ("pause", None),
            Wish::Resume => ("resume", None),
            Wish::Limit(limit) => ("limit", limit),
        };
        let mut script = self.scripts.manage.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.queues()).key(self.keys.paused());
        self.write_queues(&mut script, std::slice::from_ref(queue));
        script.arg(word).arg(limit.map_or(String::new(), |limit| limit.to_string())).arg(u8::from(unused));
        let mut reply = Reply::new("manage", script.invoke_async(conn).await?)?;
        match reply.text()?.as_str() {
            "DONE" => Ok(Managed::Done),
            "UNKNOWN" => Ok(Managed::UnknownQueue),
            _ => Err(reply.mismatch()),
        }
    }
}
