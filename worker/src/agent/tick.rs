//! The heartbeat: once a second, and what it finds to do.

use std::rc::Rc;

use gristmill_broker::{BrokerError, Swept};
use gristmill_shared::BatchId;
use gristmill_shared::defaults::TICK;
use tokio::time::MissedTickBehavior;

use super::{Agent, judge, reclaim};

/// Slices of one batch that are deleted per tick, so that a huge one delays nobody.
const SLICES_PER_TICK: usize = 8;

/// Beats for as long as the process lives. The beat itself never waits for what it found.
pub async fn beat(agent: Rc<Agent>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut found = None;
    let mut cursor = 0;
    loop {
        interval.tick().await;
        match tick(&agent, cursor).await {
            Ok(tick) => {
                let busy = found.as_ref().is_some_and(|task: &tokio::task::JoinHandle<()>| !task.is_finished());
                if !busy {
                    cursor = tick.cursor;
                    found = Some(tokio::task::spawn_local(deal_with(Rc::clone(&agent), tick)));
                }
            }
            Err(error) => tracing::error!("a tick was refused: {error}"),
        }
    }
}

async fn tick(agent: &Agent, cursor: u64) -> Result<gristmill_broker::Tick, BrokerError> {
    let config = &agent.config;
    agent.wire.call(async |conn| agent.broker.tick(conn, &config.queues, config.lease, cursor).await).await
}

async fn deal_with(agent: Rc<Agent>, tick: gristmill_broker::Tick) {
    for consumer in tick.expired {
        if let Err(error) = reclaim::expired(&agent, consumer).await {
            tracing::error!(%consumer, "a consumer whose lease ran out cannot be reclaimed: {error}");
        }
    }
    for (field, stored) in tick.suspects {
        judge::judge(&agent, &field, &stored, Some(tick.now_ms)).await;
    }
    for batch in tick.batches {
        if let Err(error) = sweep(&agent, batch).await {
            tracing::error!(%batch, "a batch cannot be swept: {error}");
        }
    }
}

async fn sweep(agent: &Agent, batch: BatchId) -> Result<(), BrokerError> {
    for _ in 0..SLICES_PER_TICK {
        let swept = agent.wire.call(async |conn| agent.broker.sweep(conn, batch).await).await?;
        if swept != Swept::Slice {
            break;
        }
    }
    Ok(())
}
