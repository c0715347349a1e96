use redis::RedisError;

use crate::connection::{ConnectionError, is_connection_lost, is_not_ready};
use crate::ids::{BatchId, TaskId};

/// Why a result is not there.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// Redis could not be reached for too long, or refuses us.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Redis answered with an error.
    #[error("Redis answered with an error: {0}")]
    Redis(#[from] RedisError),
    /// The batch never existed, or its time is over.
    #[error("there is no batch {0}: the id is wrong, or its results have expired")]
    NoSuchBatch(BatchId),
    /// The batch has no task of this index.
    #[error("there is no task {0}: its batch has fewer tasks")]
    NoSuchTask(TaskId),
    /// The batch finished, but what it recorded is not all there any more.
    #[error("the results of {missing} tasks of batch {batch} have expired")]
    Expired {
        /// The batch.
        batch: BatchId,
        /// How many results are missing.
        missing: u64,
    },
    /// The output of one task stood in a blob that is gone. The others are not concerned.
    #[error("task {0} succeeded, but its output has expired")]
    BlobGone(TaskId),
    /// What is stored for one task cannot be read. The others are not concerned.
    #[error("the outcome of task {task} cannot be read: {why}")]
    Unreadable {
        /// The task.
        task: TaskId,
        /// What is wrong with it.
        why: String,
    },
}

impl ResultsError {
    /// The task that the error is about, where it is about one only: a stream goes on after it.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::BlobGone(task) | Self::NoSuchTask(task) | Self::Unreadable { task, .. } => Some(*task),
            _ => None,
        }
    }

    /// Whether asking again may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_retryable(),
            Self::Redis(error) => is_connection_lost(error) || is_not_ready(error),
            _ => false,
        }
    }
}
