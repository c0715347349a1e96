//! Status slots: what a consumer shows of itself without sending a message.
//!
//! One [`Slot`] per consumer place stands in anonymous shared memory, mapped before the first fork.
//! Everything in it is atomic, so that supervisor, agent and consumer may look and write at any time.
//! The running task is one 64-bit word: compute moves it from running to idle, the I/O thread from
//! running to ended, each by compare-and-swap; whoever wins decides how the task ended.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, fence};
use std::time::Duration;

use gristmill_shared::{BatchId, ConsumerId, TaskId};

use crate::clock;
use crate::note::Note;

mod leaving;
mod shared;

pub use leaving::Leaving;
pub use shared::{Board, Slots};

const TAG_RUNNING: u64 = 1;
const TAG_LIMIT: u64 = 2;
const TAG_ORDERED: u64 = 3;
const TAG_MEMORY: u64 = 4;
const TAG_BITS: u32 = 3;
const ITEM_BITS: u32 = 13;
const POSITION_BITS: u32 = 64 - TAG_BITS - ITEM_BITS;
/// A snapshot of a very busy slot is tried this often before the last try is taken as it is.
const SNAPSHOT_TRIES: usize = 64;

/// What compute tells of a task as it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Position of the message among all that the consumer ever claimed.
    pub position: u64,
    /// Which task of the message, from 0.
    pub item: u32,
    /// The task, for people.
    pub task: TaskId,
    /// Place of the kernel in `Kernels::iter()`, for people.
    pub kernel: u32,
    /// Its time limit. The supervisor kills only when that has passed by 2 s more.
    pub time_limit: Option<Duration>,
    /// Its memory limit.
    pub memory: Option<MemoryLimit>,
}

/// How much memory a consumer may hold while a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// What the task may use, bytes.
    pub bytes: u64,
    /// What its process held already when it began, and that is not to be blamed on it.
    pub before: u64,
}

/// Why the I/O thread (or the supervisor) has ended a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedFor {
    /// Its time limit has passed: the task is charged.
    Limit,
    /// It has passed its memory limit: the task is charged.
    Memory,
    /// We wanted it, for a cancel or a drain: nobody is charged, also if what follows does not succeed.
    Order,
}

/// Counters of a place; they go on counting under its next consumer.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Counters {
    /// Tasks that returned a value.
    pub succeeded: AtomicU64,
    /// Tasks that did not.
    pub failed: AtomicU64,
    /// Time spent in kernels, µs.
    pub busy_us: AtomicU64,
    /// Messages claimed.
    pub claimed: AtomicU64,
    /// Calls to Redis.
    pub calls: AtomicU64,
    /// Consumers that made room for a fresh process, as `--max-tasks-per-consumer` and its like ask for.
    pub recycled: AtomicU64,
}

/// The status of one consumer place. All zero bytes are a valid, free slot.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Slot {
    state: AtomicU64,
    consumer: [AtomicU64; 2],
    pid: AtomicU32,
    batch: [AtomicU64; 2],
    index: AtomicU64,
    kernel: AtomicU32,
    leaving: AtomicU8,
    joined: AtomicBool,
    prepared: AtomicBool,
    started_at_ms: AtomicU64,
    /// By the monotonic clock, as is the deadline: a step of the wall clock kills nobody.
    started_ms: AtomicU64,
    deadline_ms: AtomicU64,
    peak_rss_bytes: AtomicU64,
    /// What the running task may use; 0: no limit.
    memory_limit: AtomicU64,
    memory_before: AtomicU64,
    /// What its consumer held when anybody looked last.
    memory_held: AtomicU64,
    /// The system refused memory, and the process aborts over it.
    starved: AtomicBool,
    progress: Note,
    counters: Counters,
}

/// A slot as its users hold it: the mapping lives as long as the process.
pub type SlotRef = &'static Slot;

/// The task that runs, or that the I/O thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotTask {
    /// Position of its message.
    pub position: u64,
    /// Which task of the message.
    pub item: u32,
    /// The task.
    pub task: TaskId,
    /// Place of its kernel in `Kernels::iter()`.
    pub kernel: u32,
    /// When it began, epoch ms.
    pub started_at_ms: u64,
    /// How long it has run, ms.
    pub run_ms: u64,
    /// When its time limit passes, by [`clock::monotonic_ms`].
    pub deadline_ms: Option<u64>,
    /// Its memory limit.
    pub memory: Option<MemoryLimit>,
}

/// A slot, read at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotSnapshot {
    /// The consumer.
    pub consumer: ConsumerId,
    /// Its process, once it was forked.
    pub pid: Option<u32>,
    /// The task in it, running or ended.
    pub task: Option<SlotTask>,
    /// Why the I/O thread (or the supervisor) has ended that task, if one of them has.
    pub ended: Option<EndedFor>,
    /// Why the consumer leaves.
    pub leaving: Leaving,
    /// Whether it has claimed once.
    pub joined: bool,
    /// How far the task is, from 0 to 1, as it said last.
    pub fraction: Option<f64>,
    /// The last progress note of the task.
    pub progress: Option<String>,
    /// Largest resident size that the consumer has noted, bytes; 0: none.
    pub peak_rss_bytes: u64,
    /// What it and its programs held when a memory limit was looked at last, bytes; 0: none was.
    pub memory_held: u64,
    /// An allocation failed, and the process aborted over it.
    pub starved: bool,
}

impl Slot {
    /// Makes the slot that of a new consumer. Only the supervisor does so, before it forks.
    pub fn reset(&self, consumer: ConsumerId) {
        self.state.store(0, Relaxed);
        let (high, low) = consumer.halves();
        self.consumer[0].store(high, Relaxed);
        self.consumer[1].store(low, Relaxed);
        self.pid.store(0, Relaxed);
        self.leaving.store(Leaving::None as u8, Relaxed);
        self.joined.store(false, Relaxed);
        self.prepared.store(false, Relaxed);
        self.peak_rss_bytes.store(0, Relaxed);
        self.memory_held.store(0, Relaxed);
        self.starved.store(false, Relaxed);
        self.progress.reset();
        fence(Release);
    }

    /// Notes the process of the consumer. Only the supervisor does so, when it has forked.
    pub fn set_pid(&self, pid: u32) {
        self.pid.store(pid, Relaxed);
    }

    /// Compute starts a task. False: the I/O thread has ended the one before; stop computing.
    pub fn begin(&self, what: &Begin) -> bool {
        if self.state.load(Acquire) != 0 {
            return false;
        }
        let (high, low) = halves(what.task.batch);
        self.batch[0].store(high, Relaxed);
        self.batch[1].store(low, Relaxed);
        self.index.store(what.task.index, Relaxed);
        self.kernel.store(what.kernel, Relaxed);
        let now = clock::monotonic_ms();
        self.started_at_ms.store(clock::epoch_ms(), Relaxed);
        self.started_ms.store(now, Relaxed);
        let deadline = what.time_limit.map_or(0, |limit| now.saturating_add(limit.as_millis() as u64).max(1));
        self.deadline_ms.store(deadline, Relaxed);
        self.set_memory_limit(what.memory);
        self.progress.clear();
        let running = pack(TAG_RUNNING, what.position, what.item);
        self.state.compare_exchange(0, running, AcqRel, Acquire).is_ok()
    }

    /// Compute ends its task. False: the I/O thread ended it first and decides.
    pub fn finish(&self, position: u64, item: u32) -> bool {
        self.state.compare_exchange(pack(TAG_RUNNING, position, item), 0, AcqRel, Acquire).is_ok()
    }

    /// The I/O thread ends the task. False: compute finished it first.
    pub fn end(&self, position: u64, item: u32, why: EndedFor) -> bool {
        let tag = match why {
            EndedFor::Limit => TAG_LIMIT,
            EndedFor::Memory => TAG_MEMORY,
            EndedFor::Order => TAG_ORDERED,
        };
        let (from, to) = (pack(TAG_RUNNING, position, item), pack(tag, position, item));
        self.state.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }

    /// The I/O thread blames a task, whatever compute does: as if the process died under it.
    pub fn blame(&self, what: &Begin, why: &str) {
        let (high, low) = halves(what.task.batch);
        self.batch[0].store(high, Relaxed);
        self.batch[1].store(low, Relaxed);
        self.index.store(what.task.index, Relaxed);
        self.kernel.store(what.kernel, Relaxed);
        self.deadline_ms.store(0, Relaxed);
        self.set_memory_limit(None);
        self.progress.write(None, why);
        // Compute neither begins nor finishes anything from here on: it expects another state.
        self.state.store(pack(TAG_RUNNING, what.position, what.item), Release);
    }

    /// Whether a task runs.
    pub fn is_busy(&self) -> bool {
        self.state.load(Relaxed) != 0
    }

    /// Marks the consumer as leaving; the first reason stays.
    pub fn leave(&self, reason: Leaving) {
        // Whether another reason was there first does not matter to anybody.
        let _ = self.leaving.compare_exchange(Leaving::None as u8, reason as u8, AcqRel, Acquire);
    }

    /// Why the consumer leaves.
    pub fn leaving(&self) -> Leaving {
        Leaving::from_code(self.leaving.load(Acquire))
    }

    /// Notes that the consumer has what its tasks need: from now on it listens.
    pub fn set_prepared(&self) {
        self.prepared.store(true, Release);
    }

    /// Whether it does. Before that it holds nothing, and hears nothing.
    pub fn is_prepared(&self) -> bool {
        self.prepared.load(Acquire)
    }

    /// Notes that the first claim was answered: from now on a death is no failure to start.
    pub fn set_joined(&self) {
        self.joined.store(true, Release);
    }

    fn joined(&self) -> bool {
        self.joined.load(Acquire)
    }

    /// Keeps the largest resident size seen.
    pub fn note_rss(&self, bytes: u64) {
        self.peak_rss_bytes.fetch_max(bytes, Relaxed);
    }

    fn set_memory_limit(&self, limit: Option<MemoryLimit>) {
        self.memory_limit.store(limit.map_or(0, |limit| limit.bytes), Relaxed);
        self.memory_before.store(limit.map_or(0, |limit| limit.before), Relaxed);
    }

    /// Keeps what the consumer and its programs hold now.
    pub fn note_memory(&self, held: u64) {
        self.memory_held.store(held, Relaxed);
    }

    /// Where it is noted that the system refused memory.
    pub fn starved(&self) -> &AtomicBool {
        &self.starved
    }

    /// Keeps what the running task tells of itself: how far it is (none: as before), and a note, cut to its limit.
    pub fn note_progress(&self, fraction: Option<f64>, note: &str) {
        self.progress.write(fraction, note);
    }

    /// Another number whenever the running task has told something of itself.
    pub fn told(&self) -> u32 {
        self.progress.version()
    }

    /// Counters of the place.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The consumer whose slot it is.
    pub fn consumer(&self) -> ConsumerId {
        ConsumerId::from_halves(self.consumer[0].load(Relaxed), self.consumer[1].load(Relaxed))
    }

    /// Reads the slot. Task, times and state belong together.
    pub fn snapshot(&self) -> SlotSnapshot {
        let mut tries = 1;
        loop {
            let state = self.state.load(Acquire);
            let snapshot = self.read(state);
            fence(Acquire);
            if self.state.load(Relaxed) == state || tries == SNAPSHOT_TRIES {
                return snapshot;
            }
            tries += 1;
        }
    }

    fn read(&self, state: u64) -> SlotSnapshot {
        let (tag, position, item) = unpack(state);
        let task = (tag != 0).then(|| SlotTask {
            position,
            item,
            task: batch(self.batch[0].load(Relaxed), self.batch[1].load(Relaxed)).task(self.index.load(Relaxed)),
            kernel: self.kernel.load(Relaxed),
            started_at_ms: self.started_at_ms.load(Relaxed),
            run_ms: clock::monotonic_ms().saturating_sub(self.started_ms.load(Relaxed)),
            deadline_ms: Some(self.deadline_ms.load(Relaxed)).filter(|&ms| ms != 0),
            memory: Some(self.memory_limit.load(Relaxed))
                .filter(|&bytes| bytes != 0)
                .map(|bytes| MemoryLimit { bytes, before: self.memory_before.load(Relaxed) }),
        });
        let told = task.map(|_| self.progress.read()).unwrap_or_default();
        SlotSnapshot {
            consumer: self.consumer(),
            pid: Some(self.pid.load(Relaxed)).filter(|&pid| pid != 0),
            fraction: told.fraction,
            progress: told.note,
            task,
            ended: match tag {
                TAG_LIMIT => Some(EndedFor::Limit),
                TAG_MEMORY => Some(EndedFor::Memory),
                TAG_ORDERED => Some(EndedFor::Order),
                _ => None,
            },
            leaving: self.leaving(),
            joined: self.joined(),
            peak_rss_bytes: self.peak_rss_bytes.load(Relaxed),
            memory_held: self.memory_held.load(Relaxed),
            starved: self.starved.load(Acquire),
        }
    }
}

fn pack(tag: u64, position: u64, item: u32) -> u64 {
    debug_assert!(u64::from(item) < 1 << ITEM_BITS, "a message has at most 4,096 tasks");
    debug_assert!(position < 1 << POSITION_BITS, "48 bits of positions last for ever");
    (tag << (64 - TAG_BITS)) | (u64::from(item) << POSITION_BITS) | position
}

fn unpack(state: u64) -> (u64, u64, u32) {
    let item = (state >> POSITION_BITS) & ((1 << ITEM_BITS) - 1);
    (state >> (64 - TAG_BITS), state & ((1 << POSITION_BITS) - 1), item as u32)
}

fn halves(batch: BatchId) -> (u64, u64) {
    let whole = u128::from_be_bytes(*batch.as_bytes());
    ((whole >> 64) as u64, whole as u64)
}

fn batch(high: u64, low: u64) -> BatchId {
    BatchId::from_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
}

#[cfg(test)]
mod tests;
