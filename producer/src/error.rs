//! Errors for people: what is wrong, which value, what to do.

use std::sync::Arc;
use std::time::Duration;

use gristmill_broker::BrokerError;
use gristmill_shared::codec::{self, CodecError};
use gristmill_shared::connection::{ConnectionError, Endpoint};
use gristmill_shared::defaults::MEMORY_REFUSE_PERCENT;
use gristmill_shared::failure::{self, Failure};
use gristmill_shared::names::NameError;
use gristmill_shared::serde::de::DeserializeOwned;
use gristmill_shared::serde_bytes::ByteBuf;
use gristmill_shared::{BatchId, Certificate, OutcomeKind, TaskId, size};

/// The client could not do its part.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no connection to Redis.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Redis answered, but cannot work for us: it is too old, or holds keys of a wrong type.
    #[error("Redis at {endpoint} refuses: {reason} (`gristmill doctor` looks further)")]
    Refused {
        /// Which Redis, without the password.
        endpoint: String,
        /// What it says.
        reason: String,
    },
    /// The queue is at its depth limit.
    #[error(
        "the queue {queue:?} is full: {depth} messages wait and {limit} are allowed; start more workers, wait for room \
         (--when-full wait), or raise the limit (gristmill queue limit)"
    )]
    QueueFull {
        /// Which queue.
        queue: String,
        /// Messages that wait in it.
        depth: u64,
        /// How many may.
        limit: u64,
    },
    /// Redis is near its memory limit.
    #[error("Redis is near its memory limit ({0}); let workers drain the queues, or raise maxmemory")]
    MemoryLimit(String),
    /// This Redis can never hold the shared input.
    #[error(
        "the shared input takes {} in Redis, which may use {} in all, and {MEMORY_REFUSE_PERCENT} % of that for tasks: raise \
         maxmemory, or share less",
        size::text(*bytes), size::text(*limit)
    )]
    SharedTooLarge {
        /// What it takes, bytes.
        bytes: u64,
        /// The memory limit of Redis, bytes.
        limit: u64,
    },
    /// A large argument is no longer in Redis.
    #[error("the blob {0} is gone from Redis although its batch is open; submit the batch again")]
    BlobGone(String),
    /// There is no such batch.
    #[error("there is no batch {0}: the id is wrong, or its results have expired; result_ttl keeps them longer")]
    NoSuchBatch(BatchId),
    /// The batch finished, but some of its results are not there any more.
    #[error(
        "the results of {missing} tasks of the batch {batch} have expired; run them again, with a longer result_ttl"
    )]
    ResultsExpired {
        /// The batch.
        batch: BatchId,
        /// How many.
        missing: u64,
    },
    /// Redis no longer knows the batch.
    #[error("the batch {0} is gone from Redis: it expired, or Redis lost its data; submit it again")]
    BatchGone(BatchId),
    /// The batch takes no more tasks.
    #[error(
        "the batch {0} was sealed by somebody else: it was cancelled, or taken for abandoned; submit what is missing anew"
    )]
    BatchSealed(BatchId),
    /// The idempotency key belongs to other work.
    #[error(
        "the idempotency key {key:?} belongs to the batch {batch}, which was submitted with another kernel or other \
         arguments: use another key, or wait until that one is free again"
    )]
    KeyReused {
        /// The key.
        key: String,
        /// The batch that took it.
        batch: BatchId,
    },
    /// Nothing more of the batch was started, because its results take too much room.
    #[error(
        "the results of the batch {batch} take more than {} in Redis, so nothing more of it was started; collect them \
         while it runs, return less, or allow more (--result-bytes)",
        size::text(*budget)
    )]
    ResultBudget {
        /// The batch.
        batch: BatchId,
        /// What they may take, bytes.
        budget: u64,
    },
    /// No such task in the batch.
    #[error("there is no task {0}: its batch has fewer tasks; see that the id is right")]
    NoSuchTask(TaskId),
    /// So many single tasks of a batch are cancelled that no more can be marked.
    #[error("too many single tasks of the batch {0} are cancelled to cancel another one; cancel the whole batch")]
    TooManyCancelled(BatchId),
    /// A value could not be encoded or decoded.
    #[error("{0}")]
    Codec(String),
    /// A name breaks its rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Something the caller passed cannot work.
    #[error("{0}")]
    Invalid(String),
    /// A script refused a call that should be in order: a bug, or a foreign hand in the keys.
    #[error("a script in Redis refused the call ({0}); please report it")]
    Reply(String),
    /// The source of a `map` failed. What came before was run.
    #[error("the items of the map failed to come: {0}; those before that ran, so go on behind them")]
    Source(Arc<dyn std::error::Error + Send + Sync>),
    /// A blocking call inside of an async runtime.
    #[error(
        "gristmill::blocking was called inside of an async runtime, which it would stop: use gristmill::Client there, or \
         call it from a thread of its own (std::thread::spawn)"
    )]
    InsideRuntime,
    /// The background task that feeds the batch is gone.
    #[error(
        "the runtime which fed the batch {0} has ended before all of it was enqueued; keep it until the map has ended, or \
         wait for detach()"
    )]
    Stopped(BatchId),
}

impl From<CodecError> for ClientError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error.to_string())
    }
}

impl ClientError {
    /// Nothing was enqueued because there is no room at the moment: the same call may be taken later.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::QueueFull { .. } | Self::MemoryLimit(_))
    }

    /// What an error of the broker means to the caller.
    pub(crate) fn of(endpoint: &Endpoint, error: BrokerError) -> Self {
        match error {
            BrokerError::Redis(error) => ConnectionError::of(endpoint, &error).into(),
            BrokerError::OutOfMemory => Self::MemoryLimit("it refuses writes".into()),
            BrokerError::Codec(error) => error.into(),
            BrokerError::Refused { script, what } => Self::Reply(format!("{script}: {what}")),
            other => Self::Refused { endpoint: endpoint.to_string(), reason: other.to_string() },
        }
    }
}

/// How one task ended that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("task {task} {}: {}{}", verb(*kind), self.line(), attempts(*attempt))]
pub struct TaskFailure {
    /// Which task.
    pub task: TaskId,
    /// How it ended.
    pub kind: OutcomeKind,
    /// Why: the outermost message. [`line`](Self::line) joins it with what lay behind it.
    pub message: String,
    /// The attempt that ended it, from 1.
    pub attempt: u16,
    /// What is known of the death, where a process died.
    pub certificate: Option<Box<Certificate>>,
    // Most failures are looked at for nothing but their message: a `Result` with this error stays small.
    said: Option<Box<Said>>,
}

/// What a kernel's error says besides its message.
#[derive(Debug, Clone, Default)]
struct Said {
    kind: Option<String>,
    chain: Vec<String>,
    place: Option<String>,
    details: Option<Vec<u8>>,
}

impl TaskFailure {
    pub(crate) fn new(task: TaskId, kind: OutcomeKind, failure: Failure) -> Self {
        let Failure { message, attempt, certificate, kind: name, chain, place, details } = failure;
        let said = Said { kind: name, chain, place, details: details.map(ByteBuf::into_vec) };
        let empty = said.kind.is_none() && said.chain.is_empty() && said.place.is_none() && said.details.is_none();
        Self { task, kind, message, attempt, certificate, said: (!empty).then(|| Box::new(said)) }
    }

    /// What sort of error the kernel returned: the name of its type, `panic`, or what the kernel says.
    pub fn kind_name(&self) -> Option<&str> {
        self.said.as_ref()?.kind.as_deref()
    }

    /// What lay behind the error, outermost first.
    pub fn chain(&self) -> &[String] {
        self.said.as_ref().map_or(&[], |said| &said.chain)
    }

    /// Where the kernel panicked: `file:line:column`.
    pub fn place(&self) -> Option<&str> {
        self.said.as_ref()?.place.as_deref()
    }

    /// The value that the kernel attached with `KernelError::details`; none if it attached none.
    pub fn details<T: DeserializeOwned>(&self) -> Option<Result<T, ClientError>> {
        Some(codec::decode(self.details_bytes()?).map_err(ClientError::from))
    }

    /// The same as MessagePack.
    pub fn details_bytes(&self) -> Option<&[u8]> {
        self.said.as_ref()?.details.as_deref()
    }

    /// Message, causes and place in one line.
    pub fn line(&self) -> String {
        failure::line(&self.message, self.chain(), self.place())
    }
}

/// Why there is no result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The task ended, but not well.
    #[error(transparent)]
    Ended(#[from] TaskFailure),
    /// The task's result was handed to another reader, who had it deleted.
    #[error("the result of task {0} was delivered to another reader and deleted; ask there, or run the task again")]
    Delivered(TaskId),
    /// The output does not fit the type that the caller expects.
    #[error(
        "the output of task {task} is not of the type that was asked for: {reason}; ask for what its kernel returns"
    )]
    Output {
        /// Which task.
        task: TaskId,
        /// What does not fit.
        reason: String,
    },
    /// The task succeeded, and its output was dropped where it was computed, as its submitter or its kernel wanted.
    #[error("task {0} succeeded, but its output was not kept: it ran with ignore_result; without that it is")]
    NotKept(TaskId),
    /// The output was too large for a message, and its blob is gone.
    #[error("the output of task {0} is gone: its blob expired; run the task again, with a longer result_ttl")]
    OutputGone(TaskId),
    /// Whoever waits had no more time. The work goes on.
    #[error(
        "{} has not ended within {}; it goes on: wait longer, or cancel it",
        what(*batch, *index),
        format_args!("{waited:?}")
    )]
    Timeout {
        /// The batch that is waited for.
        batch: BatchId,
        /// The task of it that is waited for, if it is a certain one.
        index: Option<u64>,
        /// How long.
        waited: Duration,
    },
    /// The client could not do its part.
    #[error(transparent)]
    Client(#[from] ClientError),
}

fn what(batch: BatchId, index: Option<u64>) -> String {
    index.map_or_else(|| format!("the batch {batch}"), |index| format!("task {}", batch.task(index)))
}

impl TaskError {
    /// How the task ended, if it did.
    pub fn kind(&self) -> Option<OutcomeKind> {
        match self {
            Self::Ended(failure) => Some(failure.kind),
            Self::NotKept(_) => Some(OutcomeKind::Succeeded),
            _ => None,
        }
    }

    /// Which task, where the error is about one.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::Ended(TaskFailure { task, .. })
            | Self::Delivered(task)
            | Self::Output { task, .. }
            | Self::NotKept(task)
            | Self::OutputGone(task) => Some(*task),
            Self::Timeout { batch, index, .. } => index.map(|index| batch.task(index)),
            Self::Client(_) => None,
        }
    }

    /// The attempt that ended it, if it ended.
    pub fn attempt(&self) -> Option<u16> {
        match self {
            Self::Ended(failure) => Some(failure.attempt),
            _ => None,
        }
    }
}

fn verb(kind: OutcomeKind) -> &'static str {
    match kind {
        OutcomeKind::Succeeded => "succeeded",
        OutcomeKind::Failed => "failed",
        OutcomeKind::TimedOut => "timed out",
        OutcomeKind::OutOfMemory => "ran out of memory",
        OutcomeKind::Cancelled => "was cancelled",
        OutcomeKind::Expired => "expired",
        OutcomeKind::Crashed => "crashed",
        OutcomeKind::Lost => "was lost",
    }
}

fn attempts(attempt: u16) -> String {
    if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() }
}
