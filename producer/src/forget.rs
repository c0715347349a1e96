//! Deleting results before their time.

use gristmill_shared::message::BlobRef;
use gristmill_shared::results::{Collected, DeliveredRun};
use gristmill_shared::{BatchId, Outcome, TaskId};

use crate::calls::call;
use crate::client::Client;
use crate::collect::client_error;
use crate::error::ClientError;

/// Tasks whose results are read before those that were read are deleted.
const TASKS: u64 = 1024;

impl Client {
    pub(crate) async fn forget_task(&self, task: TaskId) -> Result<bool, ClientError> {
        let record = self.existing(task.batch).await?;
        if task.index >= record.tasks {
            return Err(ClientError::NoSuchTask(task));
        }
        let mut stream = self.collector().present(task.batch).only([task.index]).without_blobs();
        let output = match stream.next().await {
            Some(Ok((_, Collected::Outcome(Outcome::Blob(blob), _)))) => vec![blob],
            Some(Ok((_, Collected::Outcome(..)))) => Vec::new(),
            Some(Err(error)) => return Err(client_error(self.endpoint(), error)),
            Some(Ok((_, Collected::Delivered))) | None => return Ok(false),
        };
        if record.single {
            let broker = self.broker();
            return Ok(call!(self, connection => broker.forget_single(connection, task.batch, &output)));
        }
        // A run of one task and no more: what else is stored with it belongs to others.
        let run = DeliveredRun { indices: task.index..task.index + 1, outputs: output };
        Ok(self.forget_runs(task.batch, std::slice::from_ref(&run)).await? > 0)
    }

    pub(crate) async fn forget_batch(&self, batch: BatchId) -> Result<(), ClientError> {
        if self.existing(batch).await?.single {
            return self.forget_task(batch.task(0)).await.map(drop);
        }
        let mut stream = self.collector().present(batch).without_blobs().remember_runs();
        let mut read = 0;
        loop {
            let over = match stream.next().await {
                Some(Err(error)) if error.task().is_none() => return Err(client_error(self.endpoint(), error)),
                item => item.is_none(),
            };
            read += 1;
            if over || read % TASKS == 0 {
                self.forget_runs(batch, &stream.take_forgettable()).await?;
            }
            if over {
                return Ok(());
            }
        }
    }

    async fn forget_runs(&self, batch: BatchId, runs: &[DeliveredRun]) -> Result<u64, ClientError> {
        let broker = self.broker();
        let tasks: Vec<_> = runs.iter().map(|run| run.indices.clone()).collect();
        let outputs: Vec<BlobRef> = runs.iter().flat_map(|run| run.outputs.iter().cloned()).collect();
        Ok(call!(self, connection => broker.forget_runs(connection, batch, &tasks, &outputs)))
    }
}
