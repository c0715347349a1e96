//! The I/O thread: holds the lease, and owns everything that speaks with Redis.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gristmill_broker::Broker;
use gristmill_shared::connection::{Link, Timeouts};
use gristmill_shared::defaults::RESPONSE_TIMEOUT;
use gristmill_shared::{ConsumerId, Kernels, events};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::handover::{Cut, Handover};
use super::inflight::InFlight;
use super::meter::Meter;
use super::shared_cache::SharedCache;
use super::wire::Wire;
use super::{doorbell, drain, fetch, lease, panics, steps, watch};
use crate::clock;
use crate::config::WorkerConfig;
use crate::memory;
use crate::roles::{ConsumerStart, EXIT_BUG, EXIT_OK, EXIT_REDIS};
use crate::slot::{Begin, Leaving, SlotRef, Slots};

const BEFORE_RECYCLING: Duration = Duration::from_secs(1);
const REACH_PAUSE: Duration = Duration::from_millis(500);

/// Where the consumer stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// It claims and settles.
    Working,
    /// It claims nothing more and leaves when what runs has ended.
    Draining,
    /// The I/O thread has ended the running task: settle, give back, leave, die.
    Ending {
        /// Why.
        why: Leaving,
        /// The running task goes back uncounted instead of being settled.
        returned: Option<Cut>,
    },
}

/// What the tasks of the I/O thread share.
pub struct Io {
    /// The worker's settings.
    pub config: Arc<WorkerConfig>,
    /// The kernels on offer.
    pub kernels: Kernels,
    /// The consumer's slot.
    pub slot: SlotRef,
    /// All of the worker's shared memory.
    pub slots: Slots,
    /// The consumer.
    pub consumer: ConsumerId,
    /// All operations.
    pub broker: Broker,
    /// The connection for what does not block.
    pub wire: Wire,
    /// What the compute thread sees.
    pub handover: Arc<Handover>,
    /// Wakes the steps.
    pub nudge: Arc<Notify>,
    /// The messages in flight.
    pub inflight: RefCell<InFlight>,
    /// What memory is allowed.
    pub meter: Meter,
    /// Where the consumer stands.
    pub mode: Cell<Mode>,
    /// Why it leaves in order, when it does.
    pub leaving: Cell<Leaving>,
    /// The compute thread is busy for long: give back what has not begun.
    pub give_back: Cell<bool>,
    /// The last claim found nothing.
    pub known_empty: Cell<bool>,
    /// Rings heard so far.
    pub rings: Cell<u64>,
    /// Nothing is in flight, and nothing to claim.
    pub idle: Cell<bool>,
    /// Tells the doorbell task that `idle` was set.
    pub idle_set: Notify,
    /// Tells the watch that something is in flight, or that the consumer drains.
    pub busy: Notify,
    /// The cancel epoch that was dealt with.
    pub cancel_epoch: Cell<u64>,
    /// Tells the lease task that somebody cancelled something.
    pub cancelled: Notify,
    /// Consumers that hold a lease.
    pub live: Cell<u32>,
    /// Redis's clock minus ours, ms.
    pub clock_ahead_ms: Cell<i64>,
    /// The supervisor is gone, and nobody else ends what kernels have started.
    pub orphaned: Cell<bool>,
    /// Tasks that still run when this has passed go back.
    pub drain_by: Cell<Option<Instant>>,
    /// The message whose arguments or shared input are being fetched.
    pub fetching: Cell<Option<u64>>,
    /// Tells the fetching task that `fetching` was set.
    pub fetch_set: Notify,
    /// Shared input of batches.
    pub shared: RefCell<SharedCache>,
}

impl Io {
    /// Redis's clock, epoch ms.
    pub fn redis_now_ms(&self) -> u64 {
        clock::epoch_ms().saturating_add_signed(self.clock_ahead_ms.get())
    }

    /// Redis refuses again and again how a message ended, and would for ever: the message counts this as a
    /// crash, so that it is a dead letter in the end.
    pub fn blame(&self, what: &Begin, why: &str) -> ! {
        tracing::error!(consumer = %self.consumer, task = %what.task, "the end of a message cannot be settled: {why}");
        self.slot.blame(what, why);
        std::process::abort()
    }

    /// This process makes room for a fresh one: it finishes what runs, gives the rest back and leaves.
    pub fn recycle(&self) {
        if self.mode.get() != Mode::Working {
            return;
        }
        self.mode.set(Mode::Draining);
        self.leaving.set(Leaving::Recycle);
        let counters = self.slot.counters();
        counters.recycled.fetch_add(1, Relaxed);
        let held_bytes = self.meter.held();
        tracing::info!(event = events::CONSUMER_RECYCLED, consumer = %self.consumer, held_bytes, "makes room for a fresh process");
        self.busy.notify_one();
        self.nudge.notify_one();
    }

    /// Ends this process and everything that a kernel started, now. Whatever is in flight, the agent
    /// takes back.
    pub fn end_process(&self) -> ! {
        let own = Pid::this();
        if self.orphaned.get() {
            end_programs();
        }
        if getpgrp() == own {
            // Failing that, the line below still ends the process itself.
            let _ = killpg(own, Signal::SIGKILL);
        }
        let _ = kill(own, Signal::SIGKILL);
        std::process::abort()
    }

    /// Somebody else holds our messages now: nothing may be written any more.
    pub fn lease_lost(&self) -> ! {
        self.slot.leave(Leaving::LeaseLost);
        tracing::warn!(event = events::LEASE_LOST, consumer = %self.consumer, "the lease is gone; a successor starts");
        self.end_process()
    }

    /// Something is wrong in Gristmill itself, or a foreign hand is in its keys: going on could harm.
    /// No task is charged, so a pause keeps this from going round in circles fast.
    pub fn bug(&self, what: &str) -> ! {
        tracing::error!(consumer = %self.consumer, "cannot go on: {what}");
        self.slot.leave(Leaving::Recycle);
        std::thread::sleep(BEFORE_RECYCLING);
        self.end_process()
    }
}

/// Kills what kernels have started, in whatever session: without a supervisor nobody else does.
fn end_programs() {
    // Those that one of them starts at this very moment are found by the second look.
    for pid in (0..2).flat_map(|_| memory::descendants()) {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

/// The thread's body. Returns the exit code of the process, after the compute loop was told to end.
pub fn run(start: ConsumerStart, handover: Arc<Handover>, nudge: Arc<Notify>, meter: Meter) -> u8 {
    // Without this thread the compute thread would go on without a lease: a panic ends both.
    panics::guard_thread();
    let code = block_on(start, Arc::clone(&handover), nudge, meter);
    handover.close();
    code
}

fn block_on(start: ConsumerStart, handover: Arc<Handover>, nudge: Arc<Notify>, meter: Meter) -> u8 {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, serve(start, handover, nudge, meter)),
        Err(error) => {
            tracing::error!(%error, "the I/O thread cannot start: allow this user more open files (ulimit -n)");
            EXIT_BUG
        }
    }
}

async fn serve(start: ConsumerStart, handover: Arc<Handover>, nudge: Arc<Notify>, meter: Meter) -> u8 {
    let ConsumerStart { config, kernels, slot, slots, consumer, control, .. } = start;
    // A connection that hangs must be noticed while the lease still stands.
    let response = RESPONSE_TIMEOUT.min(config.lease / 2).max(Duration::from_secs(1));
    let timeouts = Timeouts { response, ..Timeouts::default() };
    let shared = SharedCache::new(config.limits.shared_cache, meter.shared());
    let io = Rc::new(Io {
        broker: Broker::new(&config.namespace),
        wire: Wire::new(Link::new(config.endpoint.clone(), timeouts), Some(slot.counters())),
        kernels,
        slot,
        slots,
        consumer,
        handover,
        nudge,
        inflight: RefCell::default(),
        meter,
        mode: Cell::new(Mode::Working),
        leaving: Cell::new(Leaving::Drain),
        give_back: Cell::new(false),
        known_empty: Cell::new(false),
        rings: Cell::new(0),
        idle: Cell::new(false),
        idle_set: Notify::new(),
        busy: Notify::new(),
        cancel_epoch: Cell::new(0),
        cancelled: Notify::new(),
        live: Cell::new(config.consumers as u32),
        clock_ahead_ms: Cell::new(0),
        orphaned: Cell::new(false),
        drain_by: Cell::new(None),
        fetching: Cell::new(None),
        shared: RefCell::new(shared),
        fetch_set: Notify::new(),
        config,
    });
    // First of all: end of file must be seen also while Redis is away.
    tokio::task::spawn_local(drain::listen(Rc::clone(&io), control));
    if !reach(&io, slots).await || !join(&io).await {
        io.slot.leave(Leaving::NoRedis);
        return EXIT_REDIS;
    }
    tokio::task::spawn_local(lease::keep(Rc::clone(&io)));
    tokio::task::spawn_local(doorbell::listen(Rc::clone(&io), timeouts));
    tokio::task::spawn_local(fetch::fetch(Rc::clone(&io)));
    tokio::task::spawn_local(watch::watch(Rc::clone(&io)));
    steps::work(&io).await;
    EXIT_OK
}

/// Connects, and sees that this Redis will do. A worker that has once worked with Redis never gives up.
async fn reach(io: &Io, slots: Slots) -> bool {
    while let Err(error) = io.wire.reach(io.config.reach).await {
        if !slots.redis_reached() || io.mode.get() != Mode::Working {
            tracing::debug!(%error, "the consumer cannot reach Redis");
            return false;
        }
        // Some refusals come at once.
        tokio::time::sleep(REACH_PAUSE).await;
    }
    // The agent looks too and says what is wrong, but perhaps later: nobody may join a server that is too old.
    if !slots.redis_reached() {
        match io.wire.call(async |conn| io.broker.server_info(conn).await).await {
            Ok(info) if info.is_supported() => slots.set_redis_reached(),
            _ => return false,
        }
    }
    true
}

async fn join(io: &Io) -> bool {
    let (worker, lease) = (&io.config.worker, io.config.lease);
    let joined = io.wire.call(async |conn| io.broker.join(conn, io.consumer, worker, lease).await).await;
    let started = match joined {
        Ok(true) => lease::first(io).await,
        Ok(false) => io.bug("its id has been used before"),
        Err(error) => Err(error),
    };
    match started {
        Ok(()) => tracing::info!(event = events::CONSUMER_STARTED, consumer = %io.consumer, "consumer started"),
        Err(ref error) => tracing::error!(consumer = %io.consumer, "the consumer cannot join: {error}"),
    }
    started.is_ok()
}
