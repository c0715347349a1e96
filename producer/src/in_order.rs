//! The results of a batch in the order of its tasks, and how its tasks ended.

use gristmill_shared::results::{Collected, CollectorStream, InOrder, ResultsError};
use gristmill_shared::{BatchId, OutcomeKind};

use crate::client::Client;
use crate::collect::client_error;
use crate::error::{ClientError, TaskError};

impl Client {
    /// The results of a batch in the order of its tasks; none after the last. Each is waited for, and what ends before
    /// its turn stays in Redis until then: for batches whose results nobody takes meanwhile.
    pub fn results_in_order(&self, batch: BatchId) -> OrderedResults {
        OrderedResults { client: self.clone(), batch, stream: self.collector().in_order(batch) }
    }

    /// How the tasks of a batch ended, in their order; none after the last. Each is waited for.
    pub fn endings(&self, batch: BatchId) -> Endings {
        Endings { client: self.clone(), stream: self.collector().in_order(batch).without_blobs() }
    }

    /// The same of the tasks that have ended, without waiting for others.
    pub fn endings_present(&self, batch: BatchId) -> PresentEndings {
        PresentEndings { client: self.clone(), stream: self.collector().present(batch).without_blobs() }
    }
}

/// The results of a batch in the order of its tasks. Each is MessagePack.
pub struct OrderedResults {
    client: Client,
    batch: BatchId,
    stream: InOrder,
}

impl OrderedResults {
    /// The batch.
    pub fn id(&self) -> BatchId {
        self.batch
    }

    /// The next result and the index of its task. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Result<(u64, Result<Vec<u8>, TaskError>), ClientError>> {
        let item = self.stream.next().await?;
        Some(self.client.item(self.batch, item))
    }

    /// Goes on with this task, if that is further on.
    pub fn skip_to(&mut self, index: u64) {
        self.stream.skip_to(index);
    }
}

/// How the tasks of a batch ended, in their order.
pub struct Endings {
    client: Client,
    stream: InOrder,
}

impl Endings {
    /// How the next task ended, and its index; no kind if its outcome is not there any more. May be dropped and called
    /// again.
    pub async fn next(&mut self) -> Option<Result<(u64, Option<OutcomeKind>), ClientError>> {
        Some(ending(&self.client, self.stream.next().await?))
    }
}

/// How the tasks of a batch ended that have ended, in their order.
pub struct PresentEndings {
    client: Client,
    stream: CollectorStream,
}

impl PresentEndings {
    /// As [`Endings::next`].
    pub async fn next(&mut self) -> Option<Result<(u64, Option<OutcomeKind>), ClientError>> {
        Some(ending(&self.client, self.stream.next().await?))
    }
}

fn ending(
    client: &Client,
    item: Result<(u64, Collected), ResultsError>,
) -> Result<(u64, Option<OutcomeKind>), ClientError> {
    match item {
        Ok((index, Collected::Outcome(outcome, _))) => Ok((index, Some(outcome.kind()))),
        Ok((index, Collected::Delivered)) => Ok((index, None)),
        Err(error) => match error.task() {
            Some(task) => Ok((task.index, None)),
            None => Err(client_error(client.endpoint(), error)),
        },
    }
}
