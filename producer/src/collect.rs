//! From what the collector tells to what a caller gets.

use gristmill_shared::codec::{self, CodecError};
use gristmill_shared::connection::Endpoint;
use gristmill_shared::results::{Collected, ResultsError};
use gristmill_shared::{Outcome, TaskId};
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::{ClientError, TaskError, TaskFailure};

/// The MessagePack of an output, or why there is none.
pub(crate) type Output = Result<Vec<u8>, TaskError>;

/// MessagePack's nil.
const NIL: [u8; 1] = [0xc0];

/// For callers who want the MessagePack itself.
pub(crate) fn decode_raw(bytes: Vec<u8>) -> Result<Vec<u8>, CodecError> {
    if bytes.is_empty() { Err(CodecError::Malformed("the output was not kept")) } else { Ok(bytes) }
}

/// For callers who want a value. Of an output that was not kept only that is known which could be nothing else: `()`.
pub(crate) fn decode_value<T: DeserializeOwned>(bytes: Vec<u8>) -> Result<T, CodecError> {
    codec::decode(if bytes.is_empty() && size_of::<T>() == 0 { &NIL } else { &bytes })
}

/// What a caller gets who wants a `T`.
pub(crate) fn read<T>(
    task: TaskId,
    output: Output,
    decode: impl Fn(Vec<u8>) -> Result<T, CodecError>,
) -> Result<T, TaskError> {
    match output {
        Ok(bytes) => decode(bytes).map_err(|error| TaskError::Output { task, reason: error.to_string() }),
        Err(TaskError::NotKept(task)) => decode(Vec::new()).map_err(|_| TaskError::NotKept(task)),
        Err(error) => Err(error),
    }
}

/// Whether the task succeeded, its output kept or not.
pub(crate) fn is_success(output: &Output) -> bool {
    matches!(output, Ok(_) | Err(TaskError::NotKept(_)))
}

/// What a caller gets of a task that has ended.
pub(crate) fn output(task: TaskId, collected: Collected) -> Output {
    match collected {
        Collected::Outcome(Outcome::Value(bytes), _) if bytes.is_empty() => Err(TaskError::NotKept(task)),
        Collected::Outcome(Outcome::Value(bytes), _) => Ok(bytes),
        // The collector reads blobs; a reference that it leaves is as good as gone.
        Collected::Outcome(Outcome::Blob(_), _) => Err(TaskError::OutputGone(task)),
        Collected::Outcome(Outcome::Bad(kind, failure), _) => {
            Err(TaskError::Ended(TaskFailure::new(task, kind, failure)))
        }
        Collected::Delivered => Err(TaskError::Delivered(task)),
    }
}

impl Client {
    /// One item of a collector's stream; an error that concerns no single task ends the stream.
    pub(crate) fn item(
        &self,
        batch: gristmill_shared::BatchId,
        item: Result<(u64, Collected), ResultsError>,
    ) -> Result<(u64, Output), ClientError> {
        match item {
            Ok((index, collected)) => Ok((index, output(batch.task(index), collected))),
            Err(error) => match error.task() {
                Some(task) => Ok((task.index, Err(task_error(task, error)))),
                None => Err(client_error(self.endpoint(), error)),
            },
        }
    }
}

fn task_error(task: TaskId, error: ResultsError) -> TaskError {
    match error {
        ResultsError::NoSuchTask(task) => ClientError::NoSuchTask(task).into(),
        ResultsError::BlobGone(_) => TaskError::OutputGone(task),
        other => TaskError::Output { task, reason: other.to_string() },
    }
}

pub(crate) fn client_error(endpoint: &Endpoint, error: ResultsError) -> ClientError {
    match error {
        ResultsError::Connection(error) => error.into(),
        ResultsError::Redis(error) => ClientError::of(endpoint, error.into()),
        ResultsError::NoSuchBatch(batch) => ClientError::NoSuchBatch(batch),
        ResultsError::NoSuchTask(task) => ClientError::NoSuchTask(task),
        ResultsError::Expired { batch, missing } => ClientError::ResultsExpired { batch, missing },
        other => ClientError::Refused { endpoint: endpoint.to_string(), reason: other.to_string() },
    }
}
