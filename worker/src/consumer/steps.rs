//! The calls that carry `op`: claim, settle, release. One is outstanding at a time, so one task makes
//! them all, and decides between two of them what comes next.

use std::time::{Duration, Instant};

use gristmill_broker::{BrokerError, Budget, Call, Claim, Parked, ParkedList, Release, Sources};
use gristmill_shared::defaults::SETTLE_OUTCOMES_MAX;
use gristmill_shared::message::BODY_VERSION;
use gristmill_shared::{KernelName, events};

use super::ending;
use super::handover::Glance;
use super::inflight::Fate;
use super::io::{Io, Mode};
use super::pace::{self, Load};
use super::{books, fetch, fetch_shared, release, upload};
use crate::jitter::jitter;
use crate::slot::{Begin, Leaving};

/// How often the parked lists are looked at.
const PARKED_EVERY: Duration = Duration::from_secs(5);
/// After so many refusals in a row, one a second, a fresh process may do better.
const REFUSALS_MAX: u32 = 30;

enum Step {
    GiveBack,
    Settle,
    Claim(Budget),
    PassOn,
    Leave,
    Wait(Option<Instant>),
}

/// Works until the consumer has left in order.
pub async fn work(io: &Io) {
    let mut steps = Steps {
        io,
        op: 0,
        parked_at: None,
        unparks: false,
        stopped: None,
        breaks: io.wire.breaks(),
        heard: 0,
        refusals: 0,
    };
    loop {
        match steps.next() {
            Step::GiveBack => steps.give_back().await,
            Step::Settle => steps.settle().await,
            Step::Claim(budget) => steps.claim(budget).await,
            Step::PassOn => steps.pass_on().await,
            Step::Leave => return steps.leave().await,
            Step::Wait(until) => steps.wait(until).await,
        }
    }
}

/// What a call asked for beside what it did.
struct Asked {
    budget: Budget,
    sources: Sources,
    rings: u64,
    /// The lanes were empty, as far as was known.
    quiet: bool,
}

struct Steps<'a> {
    io: &'a Io,
    op: u64,
    /// When the parked lists were looked at last; none: with the next claim.
    parked_at: Option<Instant>,
    /// What was found last was parked, and there may be more.
    unparks: bool,
    /// In this mode what had not begun was given back.
    stopped: Option<Mode>,
    breaks: u64,
    /// Rings that a claim has followed, or that were passed on.
    heard: u64,
    /// Calls in a row that were refused.
    refusals: u32,
}

impl Steps<'_> {
    fn next(&mut self) -> Step {
        let io = self.io;
        let glance = io.handover.glance();
        if glance.spent {
            io.recycle();
        }
        let mode = io.mode.get();
        let working = mode == Mode::Working;
        if io.give_back.take() || glance.capped || (!working && self.stopped != Some(mode)) {
            self.stopped = Some(mode).filter(|_| !working);
            return Step::GiveBack;
        }
        let dry = glance.running.is_none() && glance.unstarted == 0;
        if !working || due(&glance, dry) {
            books::collect(io);
        }
        let inflight = io.inflight.borrow();
        if inflight.over_at_head() > 0 {
            return Step::Settle;
        }
        let rang = self.heard != io.rings.get();
        if rang && !(working && inflight.is_empty()) {
            return Step::PassOn;
        }
        if !working {
            return if inflight.is_empty() { Step::Leave } else { Step::Wait(None) };
        }
        drop(inflight);
        if self.breaks != io.wire.breaks() {
            self.breaks = io.wire.breaks();
            io.known_empty.set(false);
        }
        let load = self.load(&glance);
        if load.messages == 0 && (rang || !io.known_empty.get() || self.parked_due()) {
            return Step::Claim(pace::budget(&load));
        }
        let idle = load.messages == 0;
        if idle != io.idle.replace(idle) && idle {
            io.idle_set.notify_one();
        }
        let flush = glance.ended_since.map(|since| since + pace::settle_after(glance.task_time));
        Step::Wait(if idle { self.parked_at.map(|at| at + PARKED_EVERY) } else { flush })
    }

    fn load(&self, glance: &Glance) -> Load {
        let inflight = self.io.inflight.borrow();
        let waiting = inflight.iter().filter(|held| !held.handed_over && !held.is_over());
        Load {
            left: glance.left,
            task_time: glance.task_time,
            running_for: glance.running.map(|running| running.item_for),
            unstarted: glance.unstarted + waiting.map(|held| u64::from(held.message.header.count)).sum::<u64>(),
            messages: inflight.len(),
            bytes: inflight.bytes(),
        }
    }

    fn parked_due(&self) -> bool {
        self.parked_at.is_none_or(|at| at.elapsed() >= PARKED_EVERY)
    }

    async fn wait(&self, until: Option<Instant>) {
        let nudged = self.io.nudge.notified();
        match until {
            // Waiting for a nudge may be given up at any time: it is kept.
            Some(until) => drop(tokio::time::timeout_at(until.into(), nudged).await),
            None => nudged.await,
        }
        self.io.idle.set(false);
    }

    /// The queues, and now and then what is parked there and can be run here.
    fn sources(&self, budget: Budget) -> Sources {
        let config = &self.io.config;
        let mut parked = Vec::new();
        if budget.messages > 0 && self.parked_due() {
            let names = self.io.kernels.iter().filter_map(|kernel| KernelName::new(kernel.name).ok());
            let mut lists: Vec<_> = names.map(ParkedList::Kernel).collect();
            lists.push(ParkedList::Version(BODY_VERSION));
            for queue in &config.queues {
                parked.extend(lists.iter().map(|list| Parked { queue: queue.clone(), list: list.clone() }));
            }
        }
        Sources { queues: config.queues.clone(), parked }
    }

    /// The next call. Its number counts only when it was answered: after an error it is used again.
    fn call(&self) -> Call {
        Call { consumer: self.io.consumer, op: self.op + 1, lease: self.io.config.lease }
    }

    async fn claim(&mut self, budget: Budget) {
        let (io, call, asked) = (self.io, self.call(), self.ask(budget));
        io.idle.set(false);
        let claim = async |conn: &mut _| io.broker.claim(conn, &call, &asked.sources, budget).await;
        match io.wire.call(claim).await {
            Ok(claim) => self.answered(claim, 0, None, asked),
            Err(error) => self.refused(&error).await,
        }
    }

    /// A ring that came while this consumer works was meant for another: a claim of nothing rings again,
    /// if there still is something.
    async fn pass_on(&mut self) {
        let rings = self.io.rings.get();
        self.claim(Budget::NONE).await;
        self.heard = rings;
    }

    /// What to claim, and what is known at this moment: rings from now on may tell of more.
    fn ask(&self, budget: Budget) -> Asked {
        let rings = self.io.rings.get();
        let quiet = self.io.known_empty.get() && self.heard == rings;
        Asked { budget, sources: self.sources(budget), rings, quiet }
    }

    async fn settle(&mut self) {
        let io = self.io;
        let take = {
            let inflight = io.inflight.borrow();
            // After a refusal one by one: only what is at fault stays at the head.
            let most = if self.refusals > 0 { 1 } else { inflight.over_at_head() };
            ending::fitting(inflight.head(most))
        };
        upload::upload(io, take).await;
        let planned = {
            let inflight = io.inflight.borrow();
            ending::settlement(inflight.head(take), io.redis_now_ms(), jitter)
        };
        let (settlement, notes) = match planned {
            Ok(planned) => planned,
            Err(error) => io.bug(&format!("outcomes cannot be written: {error}")),
        };
        let dead = &settlement.ending.dead;
        let kept = io.wire.call(async |conn| io.broker.keep_arguments(conn, dead).await).await;
        if let Err(error) = kept {
            tracing::warn!("the arguments of a dead letter may expire before it: {error}");
        }
        let working = io.mode.get() == Mode::Working;
        let budget = if working {
            let mut load = self.load(&io.handover.glance());
            load.messages -= take;
            load.bytes -= io.inflight.borrow().head(take).map(|held| held.bytes).sum::<usize>();
            pace::budget(&load)
        } else {
            Budget::NONE
        };
        let (call, asked) = (self.call(), self.ask(budget));
        let settle = async |conn: &mut _| io.broker.settle(conn, &call, &settlement, &asked.sources, budget).await;
        match io.wire.call(settle).await {
            Ok(claim) => {
                books::log_settled(io, take, &notes);
                let unneeded = fetch_shared::unneeded(io.inflight.borrow().head(take));
                self.answered(claim, take, None, asked);
                fetch_shared::delete(io, unneeded).await;
            }
            Err(error) => {
                self.blame(&error);
                self.refused(&error).await;
            }
        }
    }

    /// Gives back what has not begun. First the compute thread is stopped from beginning it.
    async fn give_back(&mut self) {
        let io = self.io;
        let cut = io.handover.cut();
        books::collect(io);
        let cut = match io.mode.get() {
            Mode::Ending { returned: Some(returned), .. } => Some(returned),
            _ => cut,
        };
        let planned = {
            let inflight = io.inflight.borrow();
            let begun = cut.and_then(|cut| {
                let index = inflight.iter().position(|held| held.serial == cut.serial)?;
                Some((index, cut.item))
            });
            // Nothing has begun: everything goes back that has not ended.
            let (index, item) = begun.unwrap_or_else(|| (inflight.over_at_head(), 0));
            release::release(&inflight, inflight.base() + index as u64, item, io.live.get())
        };
        let what = match planned {
            Ok(Some(what)) => what,
            Ok(None) => return,
            Err(error) => io.bug(&format!("a message cannot be cut: {error}")),
        };
        let call = self.call();
        loop {
            match io.wire.call(async |conn| io.broker.release(conn, &call, &what).await).await {
                Ok(claim) => return self.released(claim, what),
                // What was cut off can only go back: there is no way but to try again.
                Err(error) => self.refused(&error).await,
            }
        }
    }

    fn released(&mut self, claim: Claim, what: Release) {
        let messages = self.io.inflight.borrow().end().saturating_sub(what.from) + what.rests.len() as u64;
        tracing::debug!(event = events::MESSAGES_RELEASED, consumer = %self.io.consumer, messages, "given back");
        let asked = self.ask(Budget::NONE);
        self.answered(claim, 0, Some(what), asked);
    }

    /// Takes in the answer to a call: first what it did, then what it brought.
    fn answered(&mut self, claim: Claim, settled: usize, released: Option<Release>, asked: Asked) {
        let io = self.io;
        let Claim::Done(claimed) = claim else { io.lease_lost() };
        self.op += 1;
        self.refusals = 0;
        io.slot.set_joined();
        {
            let mut inflight = io.inflight.borrow_mut();
            inflight.settled(settled);
            if let Some(what) = released {
                inflight.released(what.from, what.started);
            }
            if claimed.settled != inflight.base() {
                let (theirs, ours) = (claimed.settled, inflight.base());
                drop(inflight);
                io.bug(&format!("Redis counts {theirs} settled messages of this consumer, it counts {ours} itself"));
            }
        }
        if asked.budget.messages > 0 {
            self.heard = asked.rings;
            if !asked.sources.parked.is_empty() {
                // What somebody finds who found nothing in the lanes, and whom nobody rang, was parked.
                self.unparks = !claimed.messages.is_empty() && (self.unparks || asked.quiet);
                self.parked_at = (!self.unparks).then(Instant::now);
            }
            io.known_empty.set(claimed.messages.is_empty() && !claimed.replayed);
        }
        books::take_in(io, claimed);
        fetch::hand_over(io);
    }

    /// An error reply: nothing was written, and the number of the call is still free.
    async fn refused(&mut self, error: &BrokerError) {
        self.refusals += 1;
        if self.refusals > REFUSALS_MAX {
            self.io.bug(&format!("Redis refuses again and again: {error}"));
        }
        tracing::error!(consumer = %self.io.consumer, "a call was refused and is tried again: {error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// After too many refusals that are about the message itself, the head is charged with a crash.
    fn blame(&self, error: &BrokerError) {
        let about_it = matches!(error, BrokerError::Refused { .. } | BrokerError::Codec(_));
        let inflight = self.io.inflight.borrow();
        if self.refusals < REFUSALS_MAX || !about_it {
            return;
        }
        if let Some(held) = inflight.at(0) {
            let kernel = if let Fate::Run { place, .. } = held.fate { place } else { u32::MAX };
            let (position, task) = (inflight.base(), held.message.task(0));
            let what = Begin { position, item: 0, task, kernel, time_limit: None, memory: None };
            self.io.blame(&what, &error.to_string());
        }
    }

    async fn leave(&mut self) {
        let io = self.io;
        let left = io.wire.call(async |conn| io.broker.leave(conn, io.consumer).await).await;
        if let Err(error) = left {
            tracing::warn!(consumer = %io.consumer, "could not give the lease up, it will expire: {error}");
        }
        match io.mode.get() {
            Mode::Ending { why, .. } => {
                io.slot.leave(why);
                tracing::info!(event = events::CONSUMER_LEFT, consumer = %io.consumer, why = why.as_str(), "consumer left");
                io.end_process()
            }
            _ if io.orphaned.get() => {
                io.slot.leave(Leaving::Orphaned);
                tracing::info!(event = events::CONSUMER_LEFT, consumer = %io.consumer, why = "orphaned", "consumer left");
                io.end_process()
            }
            _ => io.slot.leave(io.leaving.get()),
        }
        tracing::info!(event = events::CONSUMER_LEFT, consumer = %io.consumer, "consumer left");
    }
}

/// Whether what has ended should be settled now.
fn due(glance: &Glance, dry: bool) -> bool {
    let waited = glance.ended_since.is_some_and(|since| since.elapsed() >= pace::settle_after(glance.task_time));
    glance.ended > 0 && (dry || waited || glance.ended >= SETTLE_OUTCOMES_MAX)
}
