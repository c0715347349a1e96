//! How much of a streaming batch stands in Redis: enough that scaling sees load, bounded in memory.

use std::collections::BTreeMap;
use std::time::Duration;

/// Messages kept per live consumer at least.
const MESSAGES_PER_CONSUMER: u64 = 4;
/// Messages kept at least, whoever is alive: workers may come, and a message costs little.
const MESSAGES_MIN: u64 = 256;
/// Seconds of the fleet's measured work that are kept.
const WORK_SECONDS: f64 = 4.0;
/// Share of the room for results that may be filled by tasks which are on their way.
const RESULT_SHARE: f64 = 0.25;
/// Bytes of arguments that one batch keeps in Redis at most.
pub const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What stands in Redis of one batch, and how much may.
#[derive(Debug, Default)]
pub struct Window {
    /// By first index: what is not settled of each message.
    messages: BTreeMap<u64, Outstanding>,
    /// Unsettled tasks.
    tasks: u64,
    bytes: u64,
    tasks_per_second: f64,
    consumers: u64,
    /// What one task returns, on average.
    bytes_per_output: f64,
    /// Tasks that have ended, and whose results the caller has not taken.
    unread: u64,
    /// What the results of the batch may take in Redis.
    result_bytes: u64,
}

#[derive(Debug)]
struct Outstanding {
    count: u64,
    unsettled: u64,
    bytes: u64,
}

impl Window {
    /// For a batch whose results may take so many bytes in Redis.
    pub fn new(result_bytes: u64) -> Self {
        Self { result_bytes, ..Self::default() }
    }

    /// Messages of which something is unsettled.
    pub fn messages(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Consumers that hold a lease, as last seen.
    pub fn consumers(&self) -> u64 {
        self.consumers
    }

    /// Consumers that this batch alone can keep busy.
    pub fn busy(&self) -> u64 {
        self.consumers.min(self.messages()).max(1)
    }

    /// A message was enqueued.
    pub fn sent(&mut self, first: u64, count: u64, bytes: u64) {
        self.messages.insert(first, Outstanding { count, unsettled: count, bytes });
        self.tasks += count;
        self.bytes += bytes;
    }

    /// The outcome of a task arrived; one that is not ours counts for nothing.
    pub fn settled(&mut self, index: u64) {
        let Some((&start, message)) = self.messages.range_mut(..=index).next_back() else { return };
        if index >= start + message.count {
            return;
        }
        message.unsettled -= 1;
        self.tasks -= 1;
        if message.unsettled == 0 {
            self.bytes -= message.bytes;
            self.messages.remove(&start);
        }
    }

    /// So many consumers hold a lease.
    pub fn see_consumers(&mut self, consumers: u64) {
        self.consumers = consumers;
    }

    /// A measurement of the fleet: `ended` tasks in `elapsed`.
    pub fn measured(&mut self, ended: u64, elapsed: Duration) {
        if elapsed.is_zero() {
            return;
        }
        let rate = ended as f64 / elapsed.as_secs_f64();
        // Rises at once, falls slowly: too much in Redis costs memory, too little costs throughput.
        self.tasks_per_second =
            if rate > self.tasks_per_second { rate } else { self.tasks_per_second * 0.8 + rate * 0.2 };
    }

    /// A measurement of what tasks return: so many bytes by so many tasks.
    pub fn measured_outputs(&mut self, tasks: u64, bytes: u64) {
        if tasks > 0 {
            let seen = bytes as f64 / tasks as f64;
            let before = self.bytes_per_output;
            self.bytes_per_output = if seen > before { seen } else { before * 0.9 + seen * 0.1 };
        }
    }

    /// The caller has not taken the results of so many tasks that have ended.
    pub fn see_unread(&mut self, tasks: u64) {
        self.unread = tasks;
    }

    /// How many more tasks may be on their way so that results which nobody has taken fill little of their room.
    pub fn result_room(&self) -> u64 {
        if self.bytes_per_output < 1.0 {
            return u64::MAX;
        }
        let tasks = (self.result_bytes as f64 * RESULT_SHARE / self.bytes_per_output) as u64;
        tasks.max(self.consumers * 2).max(1).saturating_sub(self.tasks + self.unread)
    }

    /// How many messages of `chunk` tasks may be enqueued now.
    pub fn room(&self, chunk: u32) -> u64 {
        if self.bytes >= BYTES_MAX {
            return 0;
        }
        let floor = (self.consumers * MESSAGES_PER_CONSUMER).max(MESSAGES_MIN).saturating_sub(self.messages());
        let wanted = (self.tasks_per_second * WORK_SECONDS) as u64;
        let work = wanted.saturating_sub(self.tasks).div_ceil(u64::from(chunk.max(1)));
        floor.max(work).min(self.result_room().div_ceil(u64::from(chunk.max(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_may_always_keep_some_messages() {
        let mut window = Window::new(1 << 30);
        assert_eq!(window.room(1), MESSAGES_MIN);
        window.see_consumers(1000);
        assert_eq!(window.room(1), 4000);
        for first in 0..4000 {
            window.sent(first, 1, 10);
        }
        assert_eq!(window.room(1), 0);
        window.settled(17);
        assert_eq!(window.room(1), 1);
        assert_eq!(window.tasks, 3999);
    }

    #[test]
    fn a_fast_fleet_gets_seconds_of_work() {
        let mut window = Window::new(1 << 30);
        window.see_consumers(2);
        window.measured(10_000, Duration::from_secs(1));
        assert_eq!(window.room(100), 400);
        for i in 0..400 {
            window.sent(i * 100, 100, 1000);
        }
        assert_eq!(window.room(100), 0);
    }

    #[test]
    fn bytes_are_bounded_whatever_the_speed() {
        let mut window = Window::new(1 << 30);
        window.measured(1_000_000, Duration::from_secs(1));
        window.sent(0, 1, BYTES_MAX);
        assert_eq!(window.room(1), 0);
        window.settled(0);
        assert!(window.room(1) > 0);
    }

    #[test]
    fn large_outputs_leave_room_for_each_other() {
        let mut window = Window::new(1 << 30);
        window.see_consumers(2);
        window.measured(1_000, Duration::from_secs(1));
        window.measured_outputs(10, 10 * (8 << 20));
        assert_eq!(window.room(1), 32, "a quarter of the room, 8 MiB each");
        for first in 0..32 {
            window.sent(first, 1, 10);
        }
        assert_eq!(window.room(1), 0);
        window.settled(3);
        window.see_unread(1);
        assert_eq!(window.room(1), 0, "it has ended, but is still there");
        window.see_unread(0);
        assert_eq!(window.room(1), 1);
        let mut narrow = Window::new(1);
        narrow.see_consumers(2);
        narrow.measured_outputs(1, 1 << 20);
        assert_eq!(narrow.room(1), 4, "some work for each consumer, whatever it returns");
        let mut small = Window::new(1 << 30);
        small.measured_outputs(10, 10);
        assert_eq!(small.room(1), MESSAGES_MIN);
    }

    #[test]
    fn a_message_counts_until_all_its_tasks_are_settled() {
        let mut window = Window::new(1 << 30);
        window.sent(0, 10, 50);
        window.sent(10, 10, 50);
        (12..15).chain(10..12).for_each(|index| window.settled(index));
        assert_eq!((window.messages(), window.tasks), (2, 15));
        (15..20).for_each(|index| window.settled(index));
        assert_eq!((window.messages(), window.tasks), (1, 10));
        window.settled(15);
        window.settled(99);
        assert_eq!((window.messages(), window.tasks), (1, 10));
    }
}
