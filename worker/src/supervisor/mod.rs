//! The supervisor: forks consumers and the agent, watches over them, and stops the worker.
//!
//! One thread, no runtime, no network. It sleeps in poll(2) until a signal, a pipe or a time wakes
//! it, and then looks at everything: each turn of the loop is a few bounded passes.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_shared::{Kernels, events};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

use self::agent_place::AgentPlace;
use self::child::{Nursery, kill_group};
use self::lifeline::Lifeline;
use self::oom::OomWatch;
use self::place::Place;
use self::reports::Reports;
use self::signals::Signals;
use self::stopping::{Step, Stopping};
use crate::config::WorkerConfig;
use crate::control::Command;
use crate::descriptors::Own;
use crate::process;
use crate::slot::Slots;

mod agent_place;
mod backoff;
mod child;
mod death;
mod lifeline;
mod oom;
mod place;
mod reports;
mod signals;
mod stopping;
mod strays;

pub(crate) use self::strays::children_by_scan;

/// Limits and the out-of-memory count are looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Blocks the supervisor's signals, which has to happen before the first fork.
fn block_signals() -> nix::Result<(Signals, SigSet)> {
    nix::sys::prctl::set_child_subreaper(true)?;
    Signals::block()
}

/// Runs the worker until it is told to stop; returns its exit code.
pub(crate) fn run(config: Arc<WorkerConfig>, kernels: Kernels, slots: Slots, own: Own) -> nix::Result<u8> {
    let (signals, mask) = block_signals()?;
    let now = Instant::now();
    tracing::info!(
        event = events::WORKER_STARTED,
        worker = config.worker,
        consumers = config.consumers,
        "worker started"
    );
    let supervisor = Supervisor {
        places: slots.iter().enumerate().map(|(number, slot)| Place::new(number, slot, now)).collect(),
        agent: AgentPlace::new(now),
        reports: Reports::default(),
        stopping: Stopping::new(&config),
        nursery: Nursery::new(own, mask),
        oom: OomWatch::new(now),
        look_at: now + LOOK,
        strays: false,
        lifeline: Lifeline::new(config.end_with_stdin),
        signals,
        slots,
        kernels,
        config,
    };
    supervisor.work()
}

struct Supervisor {
    config: Arc<WorkerConfig>,
    kernels: Kernels,
    slots: Slots,
    signals: Signals,
    lifeline: Lifeline,
    nursery: Nursery,
    places: Vec<Place>,
    agent: AgentPlace,
    reports: Reports,
    stopping: Stopping,
    oom: OomWatch,
    look_at: Instant,
    /// Something died, so that programs without a parent may have come to us.
    strays: bool,
}

impl Supervisor {
    fn work(mut self) -> nix::Result<u8> {
        loop {
            self.fork_due();
            match self.next_step() {
                Step::Exit(code) => return self.close(code),
                Step::Wait => self.wait()?,
                step => self.act(step),
            }
            while let Some(signal) = self.signals.next_stop() {
                let step = self.stopping.signal(signal, Instant::now());
                self.act(step);
            }
            if self.lifeline.is_cut() {
                // As two signals do: nobody waits for what runs.
                for signal in [Signal::SIGTERM, Signal::SIGTERM] {
                    let step = self.stopping.signal(signal, Instant::now());
                    self.act(step);
                }
            }
            self.reports.receive();
            self.reports.send();
            self.bury_the_dead()?;
            if self.strays {
                self.kill_strays();
            }
            self.look();
        }
    }

    fn next_step(&mut self) -> Step {
        let consumers = self.places.iter().any(|place| place.child().is_some());
        self.stopping.step(Instant::now(), consumers, !self.agent.is_gone(), self.unreported() == 0)
    }

    /// Deaths that the agent has to deal with. Whoever never spoke with Redis holds nothing there.
    fn unreported(&self) -> usize {
        if self.slots.redis_reached() { self.reports.unacknowledged() } else { 0 }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Wait | Step::Exit(_) => {}
            Step::Drain => {
                tracing::info!(event = events::WORKER_DRAINING, worker = self.config.worker, "draining");
                self.slots.set_draining();
                self.places.iter().filter_map(Place::child).for_each(|child| child.send(Command::Drain));
                if !self.config.inits.is_empty() {
                    self.places.iter().for_each(Place::kill_unprepared);
                }
            }
            Step::KillConsumers => self.places.iter().for_each(Place::kill_in_order),
            Step::NeedAgent => self.agent.hurry(Instant::now()),
            Step::DismissAgent => self.agent.dismiss(),
            Step::KillAgent => self.agent.kill(),
        }
    }

    fn fork_due(&mut self) {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.stopping.wants_agent() && due(self.agent.fork_at()) {
            self.agent.fork(&self.nursery, &self.config, &self.kernels, self.slots, &mut self.reports);
        }
        if self.stopping.wants_consumers() {
            for place in self.places.iter_mut().filter(|place| due(place.fork_at())) {
                place.fork(&self.nursery, &self.config, &self.kernels, self.slots);
            }
        }
    }

    /// Sleeps until something happens or is due.
    fn wait(&self) -> nix::Result<()> {
        let mut pipes = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        pipes.extend(self.lifeline.pipe().map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
        pipes.extend(self.reports.wants_to_read().map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
        pipes.extend(self.reports.wants_to_write().map(|pipe| PollFd::new(pipe, PollFlags::POLLOUT)));
        let left = self.next_at().saturating_duration_since(Instant::now());
        // Rounded up: waking just before the time would only mean to sleep again.
        let millis = left.as_micros().div_ceil(1_000);
        match poll(&mut pipes, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn next_at(&self) -> Instant {
        let mut next = self.look_at;
        next = self.stopping.next_at().map_or(next, |at| next.min(at));
        if self.stopping.wants_agent() {
            next = self.agent.fork_at().map_or(next, |at| next.min(at));
        }
        if self.stopping.wants_consumers() {
            next = self.places.iter().filter_map(Place::fork_at).fold(next, Instant::min);
        }
        next
    }

    fn bury_the_dead(&mut self) -> nix::Result<()> {
        while let Some(pid) = process::find_dead()? {
            self.strays = true;
            let place = self.places.iter_mut().find(|place| place.is(pid));
            if place.is_some() || self.agent.is(pid) {
                // While the leader is not reaped, the group's number is surely still its own.
                kill_group(pid);
            }
            let Some(reaped) = process::reap(pid) else { return Ok(()) };
            if let Some(place) = place {
                let out_of_memory = place::out_of_memory(place, &reaped, &mut self.oom);
                place.bury(reaped, out_of_memory, &self.config.host, &mut self.reports);
            } else if self.agent.is(pid) && self.agent.bury(reaped, self.slots, &mut self.reports) {
                let step = self.stopping.give_up(Instant::now());
                self.act(step);
            }
        }
        Ok(())
    }

    fn kill_strays(&mut self) {
        let known = |pid: Pid| self.agent.is(pid) || self.places.iter().any(|place| place.is(pid));
        self.strays = strays::kill_strays(known);
    }

    /// What needs a look now and then.
    fn look(&mut self) {
        let now = Instant::now();
        if now >= self.look_at {
            self.look_at = now + LOOK;
            self.oom.sample(now);
            self.places.iter_mut().for_each(Place::enforce_limit);
        }
    }

    /// Last words. Programs that kernels left behind die with the worker, those that they started too.
    fn close(&mut self, code: u8) -> nix::Result<u8> {
        self.look_at = Instant::now() + LOOK;
        let until = self.look_at;
        self.kill_strays();
        while self.strays && Instant::now() < until {
            self.wait()?;
            while self.signals.next_stop().is_some() {}
            self.bury_the_dead()?;
            self.kill_strays();
        }
        let reports = self.unreported();
        if reports > 0 {
            tracing::warn!(event = events::REPORTS_DROPPED, reports, "deaths are left to the expiry of the leases");
        }
        tracing::info!(event = events::WORKER_STOPPED, worker = self.config.worker, "worker stopped");
        Ok(code)
    }
}
