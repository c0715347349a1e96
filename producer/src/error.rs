//! Errors for people: what is wrong, which value, what to do.

mod task;

use std::sync::Arc;

use gristmill_broker::BrokerError;
use gristmill_shared::codec::CodecError;
use gristmill_shared::connection::{ConnectionError, Endpoint};
use gristmill_shared::defaults::MEMORY_REFUSE_PERCENT;
use gristmill_shared::names::NameError;
use gristmill_shared::{BatchId, TaskId, size};

pub use task::{TaskError, TaskFailure};

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
        "the idempotency key {key:?} belongs to the batch {batch}, which was submitted with another kernel, other \
         arguments or other shared input: use another key, or wait until that one is free again"
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
    /// Something on our own side failed: a thread could not start, or the runtime has ended meanwhile.
    #[error("the client cannot go on: {0}")]
    Local(String),
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
