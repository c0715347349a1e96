use std::time::Duration;

use redis::Pipeline;
use tokio::time::{Instant, sleep_until, timeout};

use super::reader::Reader;
use super::stream::time_to_look;
use super::{Collected, CollectorStream, Hub, InOrder, ResultsError};
use crate::connection::Link;
use crate::defaults::WORKER_REACH;
use crate::ids::{BatchId, TaskId};
use crate::keys::Keys;

/// Whoever waits for the end of a batch looks no more often than this.
const LOOKS_EVERY: Duration = Duration::from_millis(20);

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

    /// Waits for the outcome of one task.
    pub async fn task(&self, task: TaskId) -> Result<Collected, ResultsError> {
        match self.stream(task.batch).only([task.index]).next().await {
            Some(outcome) => outcome.map(|(_, collected)| collected),
            None => Err(ResultsError::NoSuchTask(task)),
        }
    }

    /// Waits until a batch has finished, without reading its outcomes.
    pub async fn finished(&self, batch: BatchId) -> Result<(), ResultsError> {
        let mut subscription = self.reader.subscribe(&self.hub, batch).await?;
        loop {
            let key = self.reader.keys.batch(batch);
            let mut question = Pipeline::with_capacity(2);
            question.hget(&key, "state").pttl(&key);
            let (state, ttl_ms): (Option<String>, i64) = self.reader.ask(&question).await?;
            match state.as_deref() {
                None => return Err(ResultsError::NoSuchBatch(batch)),
                Some("finished") => return Ok(()),
                Some(_) => {}
            }
            let looked = Instant::now();
            let _ = timeout(time_to_look(ttl_ms), subscription.next()).await;
            // A busy batch has news all the time, and few of them are its end.
            sleep_until(looked + LOOKS_EVERY).await;
        }
    }

    /// The outcomes of a batch as its tasks end, until the batch has finished. The batch must exist
    /// already: collect after its first enqueue.
    pub fn stream(&self, batch: BatchId) -> CollectorStream {
        CollectorStream::new(self.reader.clone(), Some(self.hub.clone()), batch)
    }

    /// The outcomes of a batch in the order of its tasks, until the batch has finished; each is waited for.
    pub fn in_order(&self, batch: BatchId) -> InOrder {
        InOrder::new(self.reader.clone(), self.hub.clone(), batch)
    }

    /// The outcomes that are there, in the order of the tasks, without waiting for more.
    pub fn present(&self, batch: BatchId) -> CollectorStream {
        CollectorStream::new(self.reader.clone(), None, batch)
    }
}
