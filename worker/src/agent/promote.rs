//! Makes scheduled messages ready when they are due.

use std::rc::Rc;

use gristmill_broker::BrokerError;
use gristmill_shared::QueueName;
use gristmill_shared::defaults::TICK;
use tokio::time::MissedTickBehavior;

use super::Agent;

/// Promotes for as long as the process lives.
pub async fn promote(agent: Rc<Agent>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        for queue in &agent.config.queues {
            if let Err(error) = promote_all(&agent, queue).await {
                tracing::error!(%queue, "due messages cannot be promoted: {error}");
            }
        }
    }
}

/// A call moves a bounded number of messages and bytes, so that Redis serves others in between.
async fn promote_all(agent: &Agent, queue: &QueueName) -> Result<(), BrokerError> {
    while agent.wire.call(async |conn| agent.broker.promote(conn, queue).await).await? > 0 {}
    Ok(())
}
