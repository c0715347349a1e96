//! Memory: what a task may hold, and when a process has become too large to go on.
//!
//! All is counted beyond what the process was forked with: what `preload` has loaded is shared.

use std::cell::Cell;

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
}

impl Meter {
    /// To be made before the process does anything.
    pub fn new(limits: Limits) -> Self {
        // What cannot be measured is not limited either.
        let at_fork = memory::own().unwrap_or_default();
        let meter = Self { at_fork, limits, data_max: memory::data_limit(), own_line: Cell::new(false) };
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
        let own = MemoryLimit { bytes, before: now.resident };
        Some(whole.filter(|whole| ceiling(whole) < ceiling(&own)).unwrap_or(own))
    }

    /// Whether a process may become too large to go on.
    pub fn has_max(&self) -> bool {
        self.limits.max_memory.is_some()
    }

    /// Whether this process has become too large to go on. To be asked while no task runs.
    pub fn is_over_max(&self) -> bool {
        self.limits.max_memory.is_some_and(|max| self.held() > max)
    }

    /// What this process holds beyond what it was forked with.
    pub fn held(&self) -> u64 {
        memory::own().map_or(0, |now| now.resident.saturating_sub(self.at_fork.resident))
    }

    /// What a worker like this has for one task at most; none: nobody knows.
    pub fn room(&self) -> Option<u64> {
        [self.limits.memory, self.limits.machine_memory].into_iter().flatten().min()
    }

    /// The last line of tasks that declare nothing.
    fn line(&self) -> u64 {
        self.limits.memory.map_or(self.data_max, |bytes| line(bytes, self.at_fork).min(self.data_max))
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
        Meter { at_fork: Held { resident: 100, data: 1_000 }, limits, data_max: u64::MAX, own_line: Cell::new(false) }
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
    }
}
