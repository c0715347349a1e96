//! touch: a batch that somebody works on or waits for is not swept.

use std::time::Duration;

use gristmill_shared::BatchId;
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::error::BrokerError;

/// A batch of one lives at least this long from a touch, besides its result ttl.
const SINGLE_LIFE: Duration = Duration::from_secs(600);

impl Broker {
    /// Keeps batches from being swept for some minutes more. Those that are gone are skipped.
    pub async fn touch<C: ConnectionLike>(&self, conn: &mut C, batches: &[BatchId]) -> Result<(), BrokerError> {
        let mut script = self.scripts.touch.prepare_invoke();
        script.key(self.keys.none());
        for batch in batches {
            script.key(self.keys.batch(*batch));
        }
        let _found: u64 = script.arg(SINGLE_LIFE.as_millis() as u64).invoke_async(conn).await?;
        Ok(())
    }
}
