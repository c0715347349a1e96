//! claim: a consumer takes messages; also what settle and release answer.

use std::time::Duration;

use gristmill_shared::{ConsumerId, QueueName};
use redis::aio::ConnectionLike;
use redis::{ScriptInvocation, Value};

use crate::Broker;
use crate::ending::ParkedList;
use crate::error::BrokerError;
use crate::reply::Reply;

/// Who calls, and which of its calls this is. One call is outstanding at a time; after a lost reply
/// the identical call is repeated, after an error reply the number is used again.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The consumer.
    pub consumer: ConsumerId,
    /// Number of the call, from 1.
    pub op: u64,
    /// The lease is extended by this much.
    pub lease: Duration,
}

/// How much to claim at most. The first message of a call always fits.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Messages.
    pub messages: usize,
    /// Tasks.
    pub tasks: u64,
    /// Bytes of messages.
    pub bytes: usize,
}

impl Budget {
    /// Claims nothing.
    pub const NONE: Budget = Budget { messages: 0, tasks: 0, bytes: 0 };
}

/// Where to claim from: queues left before right, then parked lists.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The queues.
    pub queues: Vec<QueueName>,
    /// Parked lists, each of one of the queues.
    pub parked: Vec<Parked>,
}

/// A parked list to claim from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its queue.
    pub queue: QueueName,
    /// Which list of that queue.
    pub list: ParkedList,
}

/// The answer to claim, settle and release.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// The call ran.
    Done(Claimed),
    /// The lease is gone: everything in flight belongs to others, and nothing was written.
    LeaseLost,
}

/// What is in flight after a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// Position of the oldest unsettled message.
    pub settled: u64,
    /// Position of the first message listed here.
    pub base: u64,
    /// The new messages; after a replay, everything unsettled.
    pub messages: Vec<ClaimedMessage>,
    /// This call had run before, and its reply was lost.
    pub replayed: bool,
}

/// A claimed message. Its header is readable; the body may not be.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedMessage {
    /// The message.
    pub bytes: Vec<u8>,
    /// Whether to run it.
    pub flag: ClaimFlag,
}

/// Whether a claimed message is still wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimFlag {
    /// Run it.
    None,
    /// Its batch is cancelled: settle it unrun.
    Cancelled,
    /// The results of its batch take more than so many bytes: settle it unrun.
    OverBudget(u64),
    /// These task indices of its batch are cancelled.
    SomeCancelled(Vec<u64>),
    /// It was not claimed in time: settle it unrun.
    Expired,
}

impl Broker {
    /// Takes messages from the lanes into the consumer's in-flight list.
    pub async fn claim<C: ConnectionLike>(
        &self,
        conn: &mut C,
        call: &Call,
        sources: &Sources,
        budget: Budget,
    ) -> Result<Claim, BrokerError> {
        let mut script = self.scripts.claim.prepare_invoke();
        script.key(self.fenced_keys(call.consumer).as_slice());
        call.write(&mut script);
        self.write_queues(&mut script, &sources.queues);
        self.write_sources(&mut script, sources, &sources.queues, budget)?;
        read_claim("claim", script.invoke_async(conn).await?)
    }

    /// The keys that claim, settle and release begin with.
    pub(crate) fn fenced_keys(&self, consumer: ConsumerId) -> [String; 6] {
        [
            self.keys.none(),
            self.keys.leases(),
            self.keys.paused(),
            self.keys.cancelled(),
            self.keys.consumer(consumer),
            self.keys.inflight(consumer),
        ]
    }

    /// Declares queues: eight keys each, and `n, name...` as arguments.
    pub(crate) fn write_queues(&self, script: &mut ScriptInvocation<'_>, queues: &[QueueName]) {
        script.arg(queues.len());
        for queue in queues {
            script.key(self.queue_keys(queue).as_slice()).arg(queue.as_str());
        }
    }

    /// Declares the sources; `declared` are the queues that [`Self::write_queues`] wrote, sources first.
    pub(crate) fn write_sources(
        &self,
        script: &mut ScriptInvocation<'_>,
        sources: &Sources,
        declared: &[QueueName],
        budget: Budget,
    ) -> Result<(), BrokerError> {
        script.arg(budget.messages).arg(budget.tasks).arg(budget.bytes);
        script.arg(sources.queues.len()).arg(sources.parked.len());
        for parked in &sources.parked {
            let number = declared.iter().position(|queue| *queue == parked.queue).map(|i| i + 1);
            let number =
                number.ok_or_else(|| BrokerError::refused("claim", "a parked list of a queue that is no source"))?;
            script.key(self.parked_key(&parked.queue, &parked.list)).arg(number);
        }
        Ok(())
    }

    pub(crate) fn parked_key(&self, queue: &QueueName, list: &ParkedList) -> String {
        match list {
            ParkedList::Kernel(kernel) => self.keys.parked_kernel(queue, kernel),
            ParkedList::Version(version) => self.keys.parked_version(queue, *version),
        }
    }
}

impl Call {
    pub(crate) fn write(&self, script: &mut ScriptInvocation<'_>) {
        script.arg(self.consumer.to_string()).arg(self.op).arg(self.lease.as_millis() as u64);
    }
}

/// Reads the answer that claim, settle and release share.
pub(crate) fn read_claim(script: &'static str, value: Value) -> Result<Claim, BrokerError> {
    let mut reply = Reply::new(script, value)?;
    let replayed = match reply.text()?.as_str() {
        "LOST" => return Ok(Claim::LeaseLost),
        "DONE" => false,
        "REPLAY" => true,
        _ => return Err(reply.mismatch()),
    };
    let (settled, base) = (reply.int()?, reply.int()?);
    let mut messages = Vec::new();
    while !reply.is_empty() {
        let bytes = reply.bytes()?;
        let flag = reply.text()?;
        messages.push(ClaimedMessage { bytes, flag: ClaimFlag::parse(&flag).ok_or_else(|| reply.nonsense())? });
    }
    Ok(Claim::Done(Claimed { settled, base, messages, replayed }))
}

impl ClaimFlag {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::None),
            "c" => Some(Self::Cancelled),
            "x" => Some(Self::Expired),
            over if over.starts_with("b:") => Some(Self::OverBudget(over[2..].parse().ok()?)),
            some => Some(Self::SomeCancelled(parse_indices(some.strip_prefix("s:")?)?)),
        }
    }
}

/// Reads comma-separated task indices.
pub(crate) fn parse_indices(text: &str) -> Option<Vec<u64>> {
    text.split(',').map(|index| index.parse().ok()).collect()
}
