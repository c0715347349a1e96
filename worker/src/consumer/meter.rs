//! Memory: what a task may hold, and when a process has become too large to go on.
//!
//! All is counted beyond what the process was forked with: what `preload` has loaded is shared. The shared input of
//! batches is bounded by a limit of its own, and counts neither for a task nor for the process; only what the task
//! takes that decodes it counts, while it does.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gristmill_shared::shared_input::Gauge;

use crate::config::Limits;
use crate::memory::{self, Held};
use crate::slot::MemoryLimit;

/// Address space for data may be so many times the memory limit, and this much on top: not all that is
/// asked for is used.
const DATA_TIMES: u64 = 2;
const DATA_MORE: u64 = 256 << 20;

/// Knows what is allowed and what was there at first.
#[derive(Debug, Clone)]
pub struct Meter {
    at_fork: Held,
    limits: Limits,
    /// The address space for data that was allowed before.
    data_max: u64,
    /// The running task has a last line of its own.
    own_line: Cell<bool>,
    /// Shared input of batches: bounded by its own limit, and no task's fault.
    shared: Gauge,
    /// What of it is being fetched, bytes.
    reserved: Arc<AtomicU64>,
}

impl Meter {
    /// To be made before the process does anything.
    pub fn new(limits: Limits) -> Self {
        // What cannot be measured is not limited either.
        let at_fork = memory::own().unwrap_or_default();
        let shared = Gauge::new(|| memory::own().map(|held| held.resident));
        let (own_line, reserved) = (Cell::new(false), Arc::default());
        let meter = Self { at_fork, limits, data_max: memory::data_limit(), own_line, shared, reserved };
        if limits.memory.is_some() {
            memory::limit_data(meter.line());
        }
        meter
    }

    /// The limit of a task that begins now and declares to need so much.
    pub fn limit_for(&self, declared: Option<u64>) -> Option<MemoryLimit> {
        let whole = self.limits.memory.map(|bytes| MemoryLimit { bytes, before: self.at_fork.resident });
        let Some((bytes, now)) = declared.and_then(|bytes| Some((bytes, memory::own()?))) else {
            if self.own_line.replace(false) {
                memory::limit_data(self.line());
            }
            return whole;
        };
        self.own_line.set(true);
        memory::limit_data(line(bytes, now).min(self.line()));
        let own = MemoryLimit { bytes, before: now.resident.saturating_sub(self.shared.bytes()) };
        Some(whole.filter(|whole| ceiling(whole) < ceiling(&own)).unwrap_or(own))
    }

    /// Whether a process may become too large to go on.
    pub fn has_max(&self) -> bool {
        self.limits.max_memory.is_some()
    }

    /// Whether this process has become too large to go on. To be asked while no task runs.
    pub fn is_over_max(&self) -> bool {
        let held = || self.held().saturating_sub(self.shared.bytes());
        self.limits.max_memory.is_some_and(|max| held() > max)
    }

    /// What this process holds beyond what it was forked with.
    pub fn held(&self) -> u64 {
        memory::own().map_or(0, |now| now.resident.saturating_sub(self.at_fork.resident))
    }

    /// What a worker like this has for one task at most; none: nobody knows.
    pub fn room(&self) -> Option<u64> {
        [self.limits.memory, self.limits.machine_memory].into_iter().flatten().min()
    }

    /// What memory a worker like this has for the shared input of a batch; none: nobody knows.
    pub fn shared_room(&self) -> Option<u64> {
        let limits = &self.limits;
        [limits.memory.map(|bytes| bytes.max(limits.shared_cache)), limits.machine_memory].into_iter().flatten().min()
    }

    /// Counts the shared input that is here.
    pub fn shared(&self) -> Gauge {
        self.shared.clone()
    }

    /// Lets the process have address space for shared input that is about to be fetched.
    pub fn reserve(&self, bytes: u64) {
        self.reserved.fetch_add(bytes, Relaxed);
        let now = memory::data_limit();
        if now < self.data_max {
            memory::limit_data(now.saturating_add(bytes).min(self.data_max));
        }
    }

    /// It was fetched, or will not be.
    pub fn unreserve(&self, bytes: u64) {
        self.reserved.fetch_sub(bytes, Relaxed);
    }

    /// The last line of tasks that declare nothing.
    fn line(&self) -> u64 {
        let shared = self.shared.bytes().saturating_add(self.reserved.load(Relaxed));
        let line = |bytes| line(bytes, self.at_fork).saturating_add(shared).min(self.data_max);
        self.limits.memory.map_or(self.data_max, line)
    }
}

/// How much address space for data a process may have that may hold so much on top of this.
fn line(bytes: u64, from: Held) -> u64 {
    from.data.saturating_add(bytes.saturating_mul(DATA_TIMES)).saturating_add(DATA_MORE)
}

/// What a process may hold in all while a task has this limit.
pub fn ceiling(limit: &MemoryLimit) -> u64 {
    limit.before.saturating_add(limit.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(memory: Option<u64>, machine: Option<u64>) -> Meter {
        let limits = Limits { memory, machine_memory: machine, ..Limits::default() };
        let (own_line, shared, reserved) = (Cell::new(false), Gauge::default(), Arc::default());
        Meter { at_fork: Held { resident: 100, data: 1_000 }, limits, data_max: u64::MAX, own_line, shared, reserved }
    }

    #[test]
    fn a_task_that_declares_nothing_may_use_what_a_consumer_may() {
        assert_eq!(meter(None, Some(1 << 40)).limit_for(None), None);
        assert_eq!(meter(Some(7), None).limit_for(None), Some(MemoryLimit { bytes: 7, before: 100 }));
    }

    #[test]
    fn the_room_is_the_smallest_of_all_that_is_known() {
        assert_eq!(meter(Some(7), Some(5)).room(), Some(5));
        assert_eq!(meter(None, Some(5)).room(), Some(5));
        assert_eq!(meter(None, None).room(), None);
    }

    #[test]
    fn the_last_line_lies_behind_the_limit() {
        assert_eq!(meter(Some(1 << 30), None).line(), 1_000 + (2 << 30) + DATA_MORE);
        assert_eq!(meter(Some(u64::MAX), None).line(), u64::MAX);
        assert_eq!(meter(None, None).line(), u64::MAX);
        let meter = meter(Some(1 << 30), None);
        let before = meter.line();
        meter.shared().add(5);
        meter.reserved.store(2, Relaxed);
        assert_eq!(meter.line(), before + 7, "shared input moves the line");
    }

    #[test]
    fn shared_input_has_room_in_the_cache_or_in_the_limit() {
        let room = |memory, machine, shared_cache| {
            let mut meter = meter(memory, machine);
            meter.limits.shared_cache = shared_cache;
            meter.shared_room()
        };
        assert_eq!(room(None, Some(9), 5), Some(9));
        assert_eq!(room(Some(7), Some(9), 5), Some(7));
        assert_eq!(room(Some(3), Some(9), 5), Some(5));
        assert_eq!(room(None, None, 5), None);
    }
}
