//! The agent as the supervisor sees it: forked, replaced when it dies, told to leave last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_shared::{Kernels, events};
use nix::unistd::Pid;

use super::backoff::Backoff;
use super::child::{Child, Nursery, Role, pipe};
use super::death::describe;
use super::reports::Reports;
use crate::agent;
use crate::config::WorkerConfig;
use crate::control::Command;
use crate::process::{ForkError, Reaped};
use crate::roles::{AgentStart, EXIT_OK, EXIT_REDIS};
use crate::slot::Slots;

/// An agent that dies earlier than this after its start makes its successor wait.
const YOUNG: Duration = Duration::from_secs(10);

/// Keeps one agent alive.
#[derive(Debug)]
pub(super) struct AgentPlace {
    child: Option<Child>,
    backoff: Backoff,
    fork_at: Instant,
    forked_before: bool,
}

impl AgentPlace {
    pub(super) fn new(now: Instant) -> Self {
        Self { child: None, backoff: Backoff::default(), fork_at: now, forked_before: false }
    }

    pub(super) fn is(&self, pid: Pid) -> bool {
        self.child.as_ref().is_some_and(|child| child.pid == pid)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.child.is_none()
    }

    /// When an agent is to be forked, if there is none.
    pub(super) fn fork_at(&self) -> Option<Instant> {
        self.child.is_none().then_some(self.fork_at)
    }

    /// Whoever stops does not wait until it is time for a successor.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.fork_at = self.fork_at.min(now);
    }

    /// Forks the agent and connects the reports to it.
    pub(super) fn fork(
        &mut self,
        nursery: &Nursery,
        config: &Arc<WorkerConfig>,
        kernels: &Kernels,
        slots: Slots,
        reports: &mut Reports,
    ) {
        let (config, kernels) = (Arc::clone(config), kernels.clone());
        let start = move |control, [reports, acks]: [_; 2]| {
            agent::run(AgentStart { config, kernels, slots, control, reports, acks })
        };
        let forked = pipe().and_then(|to| Ok((to, pipe()?))).map_err(ForkError::System).and_then(|(to, from)| {
            let child = nursery.fork(Role::Agent, [to.0, from.1], start)?;
            Ok((child, to.1, from.0))
        });
        match forked {
            Ok((child, to_agent, from_agent)) => {
                tracing::debug!(event = events::CHILD_FORKED, role = "agent", pid = child.pid.as_raw(), "agent forked");
                if self.forked_before {
                    tracing::warn!(event = events::AGENT_REPLACED, pid = child.pid.as_raw(), "agent replaced");
                }
                self.forked_before = true;
                self.child = Some(child);
                reports.connect(to_agent, from_agent);
            }
            Err(error) => {
                let delay = self.backoff.next();
                tracing::error!(event = events::FORK_FAILED, role = "agent", %error, retry_ms = delay.as_millis() as u64, "no agent could be forked");
                self.fork_at = Instant::now() + delay;
            }
        }
    }

    /// Deals with the agent's death. True: it gave up on a Redis that this worker has never reached.
    pub(super) fn bury(&mut self, reaped: Reaped, slots: Slots, reports: &mut Reports) -> bool {
        reports.disconnect();
        let Some(child) = self.child.take() else { return false };
        if reaped.status.code() == Some(i32::from(EXIT_REDIS)) && !slots.redis_reached() {
            return true;
        }
        let now = Instant::now();
        let mut delay = Duration::ZERO;
        if now.duration_since(child.since) < YOUNG {
            delay = self.backoff.next();
        } else {
            self.backoff.reset();
        }
        self.fork_at = now + delay;
        if reaped.status.code() != Some(i32::from(EXIT_OK)) {
            let pid = child.pid.as_raw();
            tracing::warn!(event = events::AGENT_DIED, pid, summary = describe(reaped.status), "agent died");
        }
        false
    }

    /// Tells the agent to leave.
    pub(super) fn dismiss(&self) {
        if let Some(child) = &self.child {
            child.send(Command::Drain);
        }
    }

    /// Kills the agent.
    pub(super) fn kill(&self) {
        if let Some(child) = &self.child {
            child.kill();
        }
    }
}
