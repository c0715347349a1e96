//! Looks for cancels while tasks run here, so that nobody waits for a renewal until his task is told to stop.
//!
//! The agent asks for all consumers of the worker, which see the answer in shared memory.

use std::rc::Rc;
use std::time::Duration;

use super::Agent;

const EVERY: Duration = Duration::from_millis(250);

/// Looks for as long as the process lives. An idle worker asks nothing.
pub async fn look(agent: Rc<Agent>) {
    loop {
        tokio::time::sleep(EVERY).await;
        if !agent.slots.any_busy() {
            continue;
        }
        match agent.wire.call(async |conn| agent.broker.cancel_epoch(conn).await).await {
            Ok(epoch) => agent.slots.set_cancel_epoch(epoch),
            // The renewals of the consumers find it as well, only later.
            Err(error) => tracing::debug!(%error, "a look for cancels was refused"),
        }
    }
}
