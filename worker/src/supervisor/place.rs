//! A place for a consumer: its slot, the process in it now, and when its successor may start.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_shared::{Certificate, ConsumerId, DeathCause, Kernels, events};
use nix::unistd::Pid;

use super::backoff::Backoff;
use super::child::{Child, Nursery, Role};
use super::death::{Evidence, starved};
use super::oom::OomWatch;
use super::reports::Reports;
use crate::clock;
use crate::config::WorkerConfig;
use crate::consumer;
use crate::process::Reaped;
use crate::roles::ConsumerStart;
use crate::slot::{EndedFor, Leaving, SlotRef, SlotSnapshot, Slots};

/// The I/O thread has this much longer than a limit to act on it, before the supervisor does.
const OVERRUN: Duration = Duration::from_secs(2);

/// One of the worker's consumer places.
#[derive(Debug)]
pub(super) struct Place {
    number: usize,
    slot: SlotRef,
    child: Option<Child>,
    backoff: Backoff,
    fork_at: Instant,
    /// The supervisor has killed the child because it overran a limit.
    overran: bool,
}

impl Place {
    pub(super) fn new(number: usize, slot: SlotRef, now: Instant) -> Self {
        Self { number, slot, child: None, backoff: Backoff::default(), fork_at: now, overran: false }
    }

    pub(super) fn child(&self) -> Option<&Child> {
        self.child.as_ref()
    }

    pub(super) fn is(&self, pid: Pid) -> bool {
        self.child.as_ref().is_some_and(|child| child.pid == pid)
    }

    /// When a consumer is to be forked into this place, if it is free.
    pub(super) fn fork_at(&self) -> Option<Instant> {
        self.child.is_none().then_some(self.fork_at)
    }

    /// Forks a consumer into the free place.
    pub(super) fn fork(&mut self, nursery: &Nursery, config: &Arc<WorkerConfig>, kernels: &Kernels, slots: Slots) {
        let consumer = ConsumerId::new();
        self.slot.reset(consumer);
        self.overran = false;
        let (slot, place) = (self.slot, self.number);
        let (config, kernels) = (Arc::clone(config), kernels.clone());
        let forked = nursery.fork(Role::Consumer, [], move |control, []| {
            consumer::run(ConsumerStart { config, kernels, slot, slots, consumer, control })
        });
        match forked {
            Ok(child) => {
                tracing::debug!(event = events::CHILD_FORKED, role = "consumer", %consumer, pid = child.pid.as_raw(), place);
                slot.set_pid(child.pid.as_raw().unsigned_abs());
                self.child = Some(child);
            }
            Err(error) => {
                let delay = self.backoff.next();
                tracing::error!(event = events::FORK_FAILED, role = "consumer", %error, retry_ms = delay.as_millis() as u64, "no consumer could be forked");
                self.fork_at = Instant::now() + delay;
            }
        }
    }

    /// Ends a consumer that does not listen yet, for it is still being prepared: a drain need not wait for that.
    pub(super) fn kill_unprepared(&self) {
        if !self.slot.is_prepared() {
            self.kill_in_order();
        }
    }

    /// Ends the consumer because the worker stops: its death is ordered.
    pub(super) fn kill_in_order(&self) {
        if let Some(child) = &self.child {
            self.slot.leave(Leaving::Drain);
            child.kill();
        }
    }

    /// Kills the consumer if its task has overrun its limit by far: its I/O thread does not act.
    pub(super) fn enforce_limit(&mut self) {
        let Some(child) = self.child.as_ref().filter(|_| !self.overran) else { return };
        let snapshot = self.slot.snapshot();
        // Whoever leaves, or has ended its task for another reason, is settling that.
        let ended = matches!(snapshot.ended, Some(EndedFor::Order | EndedFor::Memory));
        let ordered = snapshot.leaving != Leaving::None || ended;
        let Some(task) = snapshot.task.filter(|_| !ordered) else { return };
        let latest = task.deadline_ms.map(|deadline| deadline + OVERRUN.as_millis() as u64);
        if latest.is_none_or(|latest| clock::monotonic_ms() < latest) {
            return;
        }
        // From here on compute cannot finish the task: it either has, or is judged as timed out.
        if snapshot.ended.is_some() || self.slot.end(task.position, task.item, EndedFor::Limit) {
            self.overran = true;
            tracing::warn!(
                event = events::LIMIT_ENFORCED,
                consumer = %snapshot.consumer,
                task = %task.task,
                run_ms = task.run_ms,
                "killing a consumer that ignores its time limit"
            );
            child.kill();
        }
    }

    /// Deals with the death of the consumer, which was reaped just now.
    pub(super) fn bury(&mut self, reaped: Reaped, out_of_memory: bool, host: &str, reports: &mut Reports) {
        self.child = None;
        // The slot is copied before a successor can write into it.
        let slot = self.slot.snapshot();
        let evidence = Evidence { reaped, slot: &slot, overran: self.overran, out_of_memory, host };
        let (ordered, certificate) = (evidence.ordered(), evidence.certificate());
        let consumer = slot.consumer;
        log(consumer, &slot, &certificate);
        let running = slot.task.map(|task| (task.position, task.item));
        reports.add(consumer, self.number, running, ordered, certificate);
        let mut delay = Duration::ZERO;
        if slot.joined {
            self.backoff.reset();
        } else {
            delay = self.backoff.next();
        }
        self.fork_at = Instant::now() + delay;
    }
}

/// Whether a death is to be explained by a lack of memory: the system refused it, or killed for it. Not a SIGKILL
/// that we sent.
pub(super) fn out_of_memory(place: &Place, reaped: &Reaped, watch: &mut OomWatch) -> bool {
    let slot = place.slot.snapshot();
    let ours = place.overran || slot.leaving != Leaving::None || slot.ended.is_some();
    let mut killed = || reaped.status.signal() == Some(libc::SIGKILL) && !ours && watch.charge();
    starved(reaped, &slot) || killed()
}

/// A consumer that left by itself has said so; any other end is told here.
fn log(consumer: ConsumerId, slot: &SlotSnapshot, certificate: &Certificate) {
    let (summary, task) = (&certificate.summary, slot.task.map(|task| task.task.to_string()));
    match certificate.cause {
        DeathCause::Ordered if certificate.exit_code.is_some() => {
            tracing::debug!(event = events::CONSUMER_LEFT, %consumer, summary);
        }
        DeathCause::Ordered => {
            tracing::info!(event = events::CONSUMER_LEFT, %consumer, summary, task, "consumer ended");
        }
        cause => {
            let cause = cause.as_str();
            tracing::warn!(event = events::CONSUMER_DIED, %consumer, cause, summary, task, "consumer died");
        }
    }
}
