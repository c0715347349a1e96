//! What an operator does to queues.

use gristmill_broker::{Managed, Purged, Wish};
use gristmill_shared::{Lane, QueueName};

use crate::calls::call;
use crate::client::Client;
use crate::error::ClientError;

impl Client {
    /// Pauses or resumes a queue, or limits its depth; one that nobody has used only with `unused`.
    pub async fn manage_queue(&self, queue: &QueueName, wish: Wish, unused: bool) -> Result<Managed, ClientError> {
        let broker = self.broker();
        Ok(call!(self, connection => broker.manage(connection, queue, wish, unused)))
    }

    /// The first messages of a lane after some that are skipped, as they stand there.
    pub async fn queue_head(
        &self,
        queue: &QueueName,
        lane: Lane,
        skip: usize,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, ClientError> {
        let broker = self.broker();
        Ok(call!(self, connection => broker.queue_head(connection, queue, lane, skip, count)))
    }

    /// Removes exactly these messages, if the lane begins with them; their tasks end as cancelled.
    pub async fn purge(&self, queue: &QueueName, lane: Lane, messages: &[Vec<u8>]) -> Result<Purged, ClientError> {
        let broker = self.broker();
        Ok(call!(self, connection => broker.purge(connection, queue, lane, messages)))
    }
}
