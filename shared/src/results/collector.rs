use std::time::Duration;

use super::reader::Reader;
use super::{Collected, CollectorStream, Hub, ResultsError};
use crate::connection::Link;
use crate::defaults::WORKER_REACH;
use crate::ids::BatchId;
use crate::keys::Keys;
use crate::outcome::Outcome;

/// Collects the outcomes of batches. Clones share one connection and the hub.
#[derive(Clone)]
pub struct Collector {
    reader: Reader,
    hub: Hub,
}

impl Collector {
    /// A collector that reads through `link` and is woken through `hub`.
    pub fn new(link: Link, keys: Keys, hub: Hub) -> Self {
        Self { reader: Reader::new(link, hub.answers(), keys, WORKER_REACH), hub }
    }

    /// How long Redis may be out of reach before a call gives up (default: a minute).
    pub fn patience(mut self, patience: Duration) -> Self {
        self.reader.patience = patience;
        self
    }

    /// Waits for the outcome of a batch of one.
    pub async fn single(&self, batch: BatchId) -> Result<Outcome, ResultsError> {
        match self.stream(batch).single().next().await {
            Some(Ok((_, Collected::Outcome(outcome, _)))) => Ok(outcome),
            Some(Err(error)) => Err(error),
            Some(Ok((_, Collected::Delivered))) | None => Err(ResultsError::Expired { batch, missing: 1 }),
        }
    }

    /// The outcomes of a batch as its tasks end, until the batch has finished. The batch must exist
    /// already: collect after its first enqueue.
    pub fn stream(&self, batch: BatchId) -> CollectorStream {
        CollectorStream::new(self.reader.clone(), Some(self.hub.clone()), batch)
    }

    /// The outcomes that are there, in the order of the tasks, without waiting for more.
    pub fn present(&self, batch: BatchId) -> CollectorStream {
        CollectorStream::new(self.reader.clone(), None, batch)
    }
}
