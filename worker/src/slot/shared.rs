//! The shared memory of a worker: one slot per consumer place, and what concerns them all.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::{Slot, SlotRef};

/// What all processes of a worker share beside the slots.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Board {
    redis_reached: AtomicBool,
    draining: AtomicBool,
    cancel_epoch: AtomicU64,
}

/// The shared memory of one worker.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    board: &'static Board,
    slots: &'static [Slot],
}

impl Slots {
    /// Slots over memory that processes share.
    pub(crate) fn new(board: &'static Board, slots: &'static [Slot]) -> Self {
        Self { board, slots }
    }

    /// All slots, by place.
    pub fn iter(&self) -> impl Iterator<Item = SlotRef> + use<> {
        self.slots.iter()
    }

    /// Notes that a process of this worker has spoken with Redis: from now on the worker never gives up.
    pub fn set_redis_reached(&self) {
        self.board.redis_reached.store(true, Release);
    }

    /// Notes that the worker drains. Only the supervisor does so.
    pub(crate) fn set_draining(&self) {
        self.board.draining.store(true, Release);
    }

    /// Whether the worker drains, for its record.
    pub fn draining(&self) -> bool {
        self.board.draining.load(Acquire)
    }

    /// Notes the number of cancels that the agent has found.
    pub fn set_cancel_epoch(&self, epoch: u64) {
        self.board.cancel_epoch.store(epoch, Relaxed);
    }

    /// The number of cancels that the agent found last; where it changes, a look at the marks may be worth it.
    pub fn cancel_epoch(&self) -> u64 {
        self.board.cancel_epoch.load(Relaxed)
    }

    /// Whether a task runs on any place.
    pub fn any_busy(&self) -> bool {
        self.slots.iter().any(Slot::is_busy)
    }

    /// Whether any process of this worker ever spoke with Redis.
    pub fn redis_reached(&self) -> bool {
        self.board.redis_reached.load(Acquire) || self.slots.iter().any(Slot::joined)
    }
}
