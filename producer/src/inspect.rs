//! Looking at queues, kernels, workers and batches.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_broker::{BatchRecord, KernelRecord, Located, QueueStats};
use gristmill_shared::{BatchId, QueueName, TaskId};

use crate::calls::call;
use crate::client::Client;
use crate::consumer_line::ConsumerLine;
use crate::error::ClientError;

/// What a living worker publishes of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Its id.
    pub id: String,
    /// Its fields, readable text.
    pub fields: BTreeMap<String, String>,
}

/// How far a running task is, as it says itself. Its worker sends that on about once a second.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// How far, from 0 to 1; none if it does not say.
    pub fraction: Option<f64>,
    /// What it does; none if it does not say.
    pub note: Option<String>,
    /// How long this attempt had run when its worker published that.
    pub run: Duration,
}

impl Progress {
    pub(crate) fn read(line: &ConsumerLine) -> Self {
        Self {
            fraction: line.fraction(),
            note: line.text("progress").map(str::to_owned),
            run: Duration::from_millis(line.number("run_ms").unwrap_or(0)),
        }
    }
}

impl Client {
    /// How far a task is that runs; none if no living worker says that it runs: it waits, or it has ended. One that runs
    /// and tells nothing of itself has neither fraction nor note.
    pub async fn progress(&self, task: TaskId) -> Result<Option<Progress>, ClientError> {
        let id = task.to_string();
        let runs = |line: &ConsumerLine| line.text("task") == Some(id.as_str());
        let workers = self.workers().await?;
        Ok(workers.iter().flat_map(ConsumerLine::all).find(runs).map(|line| Progress::read(&line)))
    }

    /// Depths and counters of all known queues, by name.
    pub async fn queues(&self) -> Result<Vec<QueueStats>, ClientError> {
        let broker = self.broker();
        let names = call!(self, connection => broker.queue_names(connection));
        let mut queues = Vec::with_capacity(names.len());
        for name in &names {
            queues.push(self.queue_stats(name).await?);
        }
        Ok(queues)
    }

    /// Depths and counters of one queue; zeros for one that nobody used.
    pub async fn queue_stats(&self, queue: &QueueName) -> Result<QueueStats, ClientError> {
        let broker = self.broker();
        Ok(call!(self, connection => broker.queue_stats(connection, queue)))
    }

    /// Kernels that workers offer, or offered within a week, by name.
    pub async fn kernels(&self) -> Result<Vec<KernelRecord>, ClientError> {
        let broker = self.broker();
        Ok(call!(self, connection => broker.kernels(connection)))
    }

    /// Living workers, by id.
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>, ClientError> {
        let broker = self.broker();
        let workers = call!(self, connection => broker.workers(connection));
        Ok(workers.into_iter().map(|(id, fields)| WorkerRecord { id, fields }).collect())
    }

    /// A batch as its hash shows it; none if it never was, or is gone.
    pub async fn batch_record(&self, batch: BatchId) -> Result<Option<BatchRecord>, ClientError> {
        let broker = self.broker();
        Ok(call!(self, connection => broker.batch_record(connection, batch)))
    }

    /// Where a task stands that has not ended; none if a bounded look does not find it.
    pub async fn locate(&self, task: TaskId, batch: &BatchRecord) -> Result<Option<Located>, ClientError> {
        let broker = self.broker();
        let queue = QueueName::new(batch.queue.as_str())?;
        Ok(call!(self, connection => broker.locate(connection, task, &queue, &batch.kernel)))
    }

    /// How many tasks of a batch consumers hold, or wait for the verdict on a dead one. Once the batch is cancelled,
    /// nothing else of it can run any more.
    pub async fn held(&self, batch: BatchId) -> Result<u64, ClientError> {
        let broker = self.broker();
        Ok(call!(self, connection => broker.held(connection, batch)))
    }

    /// Why nothing more of a batch was started, if its results took too much room.
    pub async fn over_budget(&self, batch: BatchId) -> Result<Option<ClientError>, ClientError> {
        let record = self.batch_record(batch).await?.filter(|record| record.stopped);
        Ok(record.map(|record| ClientError::ResultBudget { batch, budget: record.result_bytes_max.unwrap_or(0) }))
    }

    /// Consumers that hold a lease.
    pub async fn live_consumers(&self) -> Result<u64, ClientError> {
        let broker = self.broker();
        Ok(call!(self, connection => broker.live_consumers(connection)))
    }
}
