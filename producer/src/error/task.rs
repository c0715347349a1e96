//! Why there is no result.

use std::time::Duration;

use gristmill_shared::failure::{self, Failure};
use gristmill_shared::serde::de::DeserializeOwned;
use gristmill_shared::serde_bytes::ByteBuf;
use gristmill_shared::{BatchId, Certificate, OutcomeKind, TaskId, codec};

use super::ClientError;

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
