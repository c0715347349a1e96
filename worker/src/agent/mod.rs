//! The agent: everything of a worker that speaks with Redis and runs no task.
//!
//! One duty per file: [`reclaim`] takes back what dead consumers held, [`judge`] decides about suspects,
//! [`tick`] is the heartbeat that finds what nobody reported, [`promote`] makes due messages ready,
//! [`cancels`] looks for cancels, [`record`] publishes what this worker is and does, [`leave`] listens to the supervisor.

mod cancels;
mod judge;
mod leave;
mod promote;
mod reclaim;
mod record;
mod tick;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gristmill_broker::{Broker, BrokerError, ServerInfo};
use gristmill_shared::Kernels;
use gristmill_shared::connection::{ConnectionError, Link, Timeouts};
use redis::aio::MultiplexedConnection;
use tokio::task::LocalSet;

use crate::config::WorkerConfig;
use crate::consumer::wire::Wire;
use crate::roles::{AgentStart, EXIT_BUG, EXIT_OK, EXIT_REDIS};
use crate::slot::Slots;

/// Before a call that was refused is made again.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// Before a worker that has once spoken with Redis tries to connect again.
const AFTER_NO_CONNECTION: Duration = Duration::from_millis(500);
/// An agent that leaves takes its worker's record away, if that goes fast.
const WITHDRAWING: Duration = Duration::from_millis(500);

/// What the duties share.
struct Agent {
    config: Arc<WorkerConfig>,
    kernels: Kernels,
    slots: Slots,
    broker: Broker,
    wire: Wire,
}

impl Agent {
    /// Makes a call that has to be made, however long that takes.
    async fn insist<T>(
        &self,
        what: &'static str,
        call: impl AsyncFn(&mut MultiplexedConnection) -> Result<T, BrokerError>,
    ) -> T {
        loop {
            match self.wire.call(&call).await {
                Ok(answer) => return answer,
                Err(error) => tracing::error!("{what} was refused and is tried again: {error}"),
            }
            tokio::time::sleep(AFTER_REFUSAL).await;
        }
    }
}

/// Why the agent cannot begin.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("Redis {found} is too old: Gristmill needs {} or newer, or any Valkey", version(ServerInfo::FLOOR))]
    TooOld { found: String },
}

fn version((major, minor, patch): (u32, u32, u32)) -> String {
    format!("{major}.{minor}.{patch}")
}

/// Runs the agent until it is told to leave; returns its exit code.
pub fn run(start: AgentStart) -> u8 {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, serve(start)),
        Err(error) => {
            tracing::error!(%error, "the agent cannot start: allow this user more open files (ulimit -n)");
            EXIT_BUG
        }
    }
}

async fn serve(start: AgentStart) -> u8 {
    let AgentStart { config, kernels, slots, control, reports, acks } = start;
    let agent = Rc::new(Agent {
        broker: Broker::new(&config.namespace),
        wire: Wire::new(Link::new(config.endpoint.clone(), Timeouts::default()), None),
        config,
        kernels,
        slots,
    });
    tokio::select! {
        () = leave::told(control) => {}
        code = work(&agent, reports, acks) => return code,
    }
    // The record vanishes by itself soon after, so this may fail.
    let _ = tokio::time::timeout(WITHDRAWING, record::withdraw(&agent)).await;
    EXIT_OK
}

/// Everything that the agent does; returns only if that is in vain.
async fn work(agent: &Rc<Agent>, reports: std::os::fd::OwnedFd, acks: std::os::fd::OwnedFd) -> u8 {
    if let Err(error) = begin(agent).await {
        // One line for whoever started the worker, whatever the log looks like.
        eprintln!("gristmill-worker: {error}");
        return EXIT_REDIS;
    }
    tokio::task::spawn_local(tick::beat(Rc::clone(agent)));
    tokio::task::spawn_local(promote::promote(Rc::clone(agent)));
    tokio::task::spawn_local(cancels::look(Rc::clone(agent)));
    tokio::task::spawn_local(record::publish(Rc::clone(agent)));
    match reclaim::listen(agent, reports, acks).await {
        // The supervisor closed the pipe: the control pipe tells the rest.
        Ok(()) => std::future::pending().await,
        Err(error) => {
            tracing::error!(%error, "the agent cannot read reports of deaths");
            EXIT_BUG
        }
    }
}

/// Connects and looks at the server. A worker that has once spoken with Redis never gives up.
async fn begin(agent: &Agent) -> Result<(), StartError> {
    while let Err(error) = agent.wire.reach(agent.config.reach).await {
        if !agent.slots.redis_reached() {
            return Err(error.into());
        }
        // A refusal, such as that of a password which is being changed, comes at once.
        tokio::time::sleep(AFTER_NO_CONNECTION).await;
    }
    let info = agent.wire.call(async |conn| agent.broker.server_info(conn).await).await?;
    if !info.is_supported() {
        return Err(StartError::TooOld { found: version(info.version) });
    }
    agent.slots.set_redis_reached();
    Ok(())
}
