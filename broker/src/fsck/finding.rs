//! What can be wrong, and what is done about it.

use std::fmt;

use gristmill_shared::{BatchId, ConsumerId, QueueName};

use super::check::Check;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flaw {
    /// A key of the namespace that Gristmill does not know.
    UnknownKey,
    /// A key of ours with another type.
    WrongType,
    /// A key that should expire, and does not.
    NoTtl,
    /// A key whose owner is gone.
    Orphan,
    /// Keys of a queue which is not among the known queues.
    UnlistedQueue,
    /// A member of a set or hash of ours that is no id.
    BadMember,
    /// A lease without the hash of its consumer.
    LeaseWithoutConsumer,
    /// Messages in flight which no lease protects.
    InflightWithoutLease,
    /// A lease that ran out, and that nobody reclaimed.
    LapsedLease,
    /// A batch of several which nobody will ever sweep.
    UnlistedBatch,
    /// The hash of a batch that cannot be read.
    UnreadableBatch,
    /// A sealed batch with all its outcomes that has not finished.
    UnfinishedBatch,
    /// A batch that is called finished, but has outcomes to come.
    FinishedTooEarly,
    /// The total of a sealed batch is not the number of its tasks.
    WrongTotal,
    /// A counter of a batch is not what its outcomes give.
    BatchCounter,
    /// A task that stands nowhere and has no outcome.
    LostTask,
    /// A task that stands in two places, or has an outcome and stands somewhere.
    DoubledTask,
    /// A message whose batch does not exist.
    MessageWithoutBatch,
    /// A run of outcomes that cannot be read.
    UnreadableRun,
    /// A counter of a queue is not what a recount gives.
    QueueCounter,
    /// The time of a dead letter without the letter.
    LetterWithoutRecord,
    /// A dead letter that no time names.
    RecordWithoutLetter,
    /// A dead letter that cannot be read.
    UnreadableLetter,
    /// What stands where messages belong, and is none.
    UnreadableMessage,
    /// A suspect that nobody can judge.
    UnreadableSuspect,
}

impl Flaw {
    /// The word that is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown_key",
            Self::WrongType => "wrong_type",
            Self::NoTtl => "no_ttl",
            Self::Orphan => "orphan",
            Self::UnlistedQueue => "unlisted_queue",
            Self::BadMember => "bad_member",
            Self::LeaseWithoutConsumer => "lease_without_consumer",
            Self::InflightWithoutLease => "inflight_without_lease",
            Self::LapsedLease => "lapsed_lease",
            Self::UnlistedBatch => "unlisted_batch",
            Self::UnreadableBatch => "unreadable_batch",
            Self::UnfinishedBatch => "unfinished_batch",
            Self::FinishedTooEarly => "finished_too_early",
            Self::WrongTotal => "wrong_total",
            Self::BatchCounter => "batch_counter",
            Self::LostTask => "lost_task",
            Self::DoubledTask => "doubled_task",
            Self::MessageWithoutBatch => "message_without_batch",
            Self::UnreadableRun => "unreadable_run",
            Self::QueueCounter => "queue_counter",
            Self::LetterWithoutRecord => "letter_without_record",
            Self::RecordWithoutLetter => "record_without_letter",
            Self::UnreadableLetter => "unreadable_letter",
            Self::UnreadableMessage => "unreadable_message",
            Self::UnreadableSuspect => "unreadable_suspect",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Which kind of fault.
    pub flaw: Flaw,
    /// The key, without anything else.
    pub key: String,
    /// What in the key, where it is not the key itself: a field, a task.
    pub at: Option<String>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// What a repair does.
    pub remedy: Remedy,
    /// What a counter is off: stays the same while the counter moves.
    pub(super) drift: i64,
}

impl Finding {
    pub(super) fn new(
        flaw: Flaw,
        key: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let remedy = Remedy::none("nothing that is safe: look at it, and decide");
        Self { flaw, key: key.into(), at: None, expected: expected.into(), found: found.into(), remedy, drift: 0 }
    }

    pub(super) fn at(self, at: impl Into<String>) -> Self {
        Self { at: Some(at.into()), ..self }
    }

    pub(super) fn off_by(self, drift: i64) -> Self {
        Self { drift, ..self }
    }

    pub(super) fn remedy(self, remedy: Remedy) -> Self {
        Self { remedy, ..self }
    }

    /// Whether it is the same fault, seen at another time: on a moving system the counts differ, and what is
    /// wrong by the same amount does not.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.flaw, &self.key, &self.at, self.drift) == (other.flaw, &other.key, &other.at, other.drift)
    }

    /// Whether `--repair` can do something about it.
    pub fn can_be_repaired(&self) -> bool {
        self.remedy.action != Action::Nothing
    }

    /// What a repair does, or what to do by hand.
    pub fn advice(&self) -> &str {
        &self.remedy.words
    }
}

/// What a repair does.
#[derive(Debug, Clone, PartialEq)]
pub struct Remedy {
    pub(super) action: Action,
    pub(super) words: String,
}

impl Remedy {
    pub(super) fn none(words: impl Into<String>) -> Self {
        Self { action: Action::Nothing, words: words.into() }
    }

    pub(super) fn new(words: impl Into<String>, action: Action) -> Self {
        Self { action, words: words.into() }
    }

    /// Commands that run in one step, if all of `checks` still hold.
    pub(super) fn commands(words: impl Into<String>, checks: Vec<Check>, commands: Vec<Vec<Vec<u8>>>) -> Self {
        Self::new(words, Action::Commands { checks, commands })
    }
}

/// How it is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Nothing,
    Commands {
        checks: Vec<Check>,
        commands: Vec<Vec<Vec<u8>>>,
    },
    /// Everything that this consumer held goes back to its lanes, and the consumer goes.
    Reclaim(ConsumerId),
    /// The same as a loss, once grace is over.
    ReclaimLapsed(ConsumerId),
    /// These tasks get the outcome `lost`.
    RecordLost {
        batch: BatchId,
        single: bool,
        queue: String,
        indices: Vec<(u64, u64)>,
    },
    /// What is no message is buried.
    Discard {
        key: String,
        zset: bool,
        queue: QueueName,
        counter: &'static str,
        message: Vec<u8>,
    },
    /// A message is taken from where its tasks stand a second time.
    DiscardCopy {
        key: String,
        zset: bool,
        queue: QueueName,
        counter: &'static str,
        batch: BatchId,
        first: u64,
        count: u32,
    },
}

/// A command from its words.
pub(super) fn words<const N: usize>(words: [&str; N]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}
