//! What the compute thread and the I/O thread share: prepared messages one way, ended items the other.
//!
//! One mutex guards all of it. The compute thread begins an item only while it holds the mutex, and the
//! I/O thread lowers the limit (the first item that may not begin) under the same mutex before it
//! gives anything back. So an item is either begun before the cut, and then the cut lies behind it,
//! or it can never begin. An uncontended lock costs some 20 ns, less than reading the clock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gristmill_shared::defaults::{RUN_BYTES_MAX, SETTLE_OUTCOMES_MAX};
use gristmill_shared::shared_input::SharedInput;
use gristmill_shared::{Header, KernelError, RegisteredKernel};
use serde_bytes::ByteBuf;
use tokio::sync::Notify;

use super::pace::Pace;

/// A message stops after so many failed items; the rest goes back. Each one is recorded on its own,
/// and all must fit into one call.
pub const FAILURES_PER_MESSAGE_MAX: u32 = 256;

/// What a failure carries stands in its outcome and in its dead letter, beside all that a call holds besides.
const DETAILS_WEIGHT: usize = 4;

/// A message that is ready to compute.
pub struct Job {
    /// Names the message in this process; a position is used again after a release.
    pub serial: u64,
    /// Its position in the in-flight list.
    pub position: u64,
    /// Its header.
    pub header: Header,
    /// What computes it.
    pub kernel: RegisteredKernel,
    /// Place of the kernel in the table, for the status slot.
    pub place: u32,
    /// How long one item may run.
    pub time_limit: Option<Duration>,
    /// When an item is asked to end.
    pub soft_time_limit: Option<Duration>,
    /// What an item declares to need, bytes.
    pub memory: Option<u64>,
    /// One argument per item.
    pub args: Vec<ByteBuf>,
    /// What all tasks of the batch share.
    pub shared: Option<Arc<SharedInput>>,
}

/// One item that the compute thread begins.
pub struct Item {
    /// Its message.
    pub job: Arc<Job>,
    /// Its place in the message.
    pub item: u32,
}

/// One item that has ended by itself.
pub struct Ended {
    /// Its message.
    pub serial: u64,
    /// Its place in the message.
    pub item: u32,
    /// What the kernel returned.
    pub result: Result<Vec<u8>, KernelError>,
    /// How long it ran.
    pub run: Duration,
    /// Somebody had told it to stop.
    pub stopped: bool,
}

/// What is computed at this moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Running {
    /// The message.
    pub serial: u64,
    /// Its position.
    pub position: u64,
    /// The item.
    pub item: u32,
    /// Since when its message runs.
    pub message_for: Duration,
    /// Since when the item itself runs.
    pub item_for: Duration,
}

/// What the I/O thread sees without taking anything.
#[derive(Debug, Clone, Copy)]
pub struct Glance {
    /// What runs.
    pub running: Option<Running>,
    /// Items that have not begun and may begin.
    pub unstarted: u64,
    /// Ended items that nobody took yet.
    pub ended: usize,
    /// When the first of them ended.
    pub ended_since: Option<Instant>,
    /// The measured time of one task.
    pub task_time: Option<Duration>,
    /// A message has stopped early; its rest must be given back.
    pub capped: bool,
    /// No other item begins in this process: it has to make room for a fresh one.
    pub spent: bool,
    /// How many items may still begin; none: as many as come.
    pub left: Option<u64>,
}

/// Where the compute thread was stopped: items from here on will never begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The message that had begun, if one had and items of it remain.
    pub serial: u64,
    /// Its first item that has not begun.
    pub item: u32,
}

struct Current {
    job: Arc<Job>,
    skip: Vec<bool>,
    next: u32,
    limit: u32,
    running: Option<Instant>,
    began: Instant,
    output_bytes: usize,
    failures: u32,
    /// What lies behind the limit is given back; this message has no more than that.
    rest_gone: bool,
}

impl Current {
    fn of((job, skip): (Arc<Job>, Vec<bool>)) -> Self {
        let limit = job.header.count;
        let began = Instant::now();
        Self { job, skip, next: 0, limit, running: None, began, output_bytes: 0, failures: 0, rest_gone: false }
    }

    fn pass_skipped(&mut self) {
        while self.next < self.limit && self.skip[self.next as usize] {
            self.next += 1;
        }
    }

    /// Nothing of it can begin any more, and nothing of it goes back.
    fn is_over(&self) -> bool {
        self.running.is_none() && (self.rest_gone || self.next >= self.job.header.count)
    }

    fn unstarted(&self) -> u64 {
        (self.next..self.limit).filter(|&item| !self.skip[item as usize]).count() as u64
    }
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Arc<Job>, Vec<bool>)>,
    current: Option<Current>,
    ended: Vec<Ended>,
    ended_since: Option<Instant>,
    pace: Pace,
    /// Items that may still begin; none: as many as come.
    left: Option<u64>,
    spent: bool,
    closed: bool,
}

/// The shared part; see the module.
pub struct Handover {
    state: Mutex<State>,
    wake: Condvar,
    nudge: Arc<Notify>,
    /// Set while the running item should come to an end.
    pub stop: Arc<AtomicBool>,
}

impl Handover {
    /// An empty one; `nudge` wakes the I/O thread. No more than `max_tasks` items begin.
    pub fn new(nudge: Arc<Notify>, max_tasks: Option<u64>) -> Self {
        let state = State { left: max_tasks, ..State::default() };
        Self { state: Mutex::new(state), wake: Condvar::new(), nudge, stop: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two writes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- compute thread ---

    /// Reports the item that has just ended and waits for the next one; none: it is over.
    ///
    /// `begin` marks the item as running in the status slot, before anybody can learn of it here;
    /// it refuses if the I/O thread has ended this process's work.
    pub fn next(&self, ended: Option<Ended>, begin: impl Fn(&Item) -> bool) -> Option<Item> {
        let mut state = self.lock();
        if let Some(ended) = ended {
            self.report(&mut state, ended);
        }
        loop {
            if state.closed {
                return None;
            }
            if !state.spent
                && let Some(item) = advance(&mut state)
            {
                if let Some(left) = &mut state.left {
                    *left = left.saturating_sub(1);
                    state.spent = *left == 0;
                }
                if state.spent {
                    // What waits behind this one can go to others while it runs.
                    self.nudge.notify_one();
                }
                self.stop.store(false, Ordering::Relaxed);
                return begin(&item).then_some(item);
            }
            self.nudge.notify_one();
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No other item begins in this process.
    pub fn set_spent(&self) {
        self.lock().spent = true;
        self.nudge.notify_one();
    }

    fn report(&self, state: &mut State, ended: Ended) {
        state.pace.record(ended.run);
        if let Some(current) = &mut state.current {
            current.running = None;
            match &ended.result {
                Ok(output) => current.output_bytes += output.len(),
                Err(error) => {
                    current.failures += 1;
                    current.output_bytes += DETAILS_WEIGHT * error.details_bytes().map_or(0, <[u8]>::len);
                }
            }
            if current.output_bytes > RUN_BYTES_MAX || current.failures >= FAILURES_PER_MESSAGE_MAX {
                current.limit = current.limit.min(current.next);
            }
        }
        let first = state.ended.is_empty();
        if first {
            state.ended_since = Some(Instant::now());
        }
        state.ended.push(ended);
        let message_over = state.current.as_ref().is_none_or(Current::is_over);
        if first || (message_over && state.ended.len() >= SETTLE_OUTCOMES_MAX) {
            self.nudge.notify_one();
        }
    }

    // --- I/O thread ---

    /// Hands over a message; `skip` marks the items that must not run.
    pub fn push(&self, job: Job, skip: Vec<bool>) {
        self.lock().queue.push_back((Arc::new(job), skip));
        self.wake.notify_one();
    }

    /// Takes what has ended.
    pub fn take_ended(&self) -> Vec<Ended> {
        let mut state = self.lock();
        state.ended_since = None;
        std::mem::take(&mut state.ended)
    }

    /// Looks.
    pub fn glance(&self) -> Glance {
        let state = self.lock();
        let current = state.current.as_ref();
        let waiting = state.queue.iter().map(|(_, skip)| skip.iter().filter(|&&skip| !skip).count() as u64);
        Glance {
            running: current.and_then(running),
            unstarted: waiting.sum::<u64>() + current.map_or(0, Current::unstarted),
            ended: state.ended.len(),
            ended_since: state.ended_since,
            task_time: state.pace.task_time(),
            capped: current.is_some_and(|c| c.limit < c.job.header.count && !c.rest_gone),
            spent: state.spent,
            left: state.left,
        }
    }

    /// Stops the compute thread behind the item that runs: nothing else that was handed over will
    /// begin. The current message is over as soon as its running item has ended.
    pub fn cut(&self) -> Option<Cut> {
        let mut state = self.lock();
        state.queue.clear();
        let current = state.current.as_mut()?;
        current.limit = current.limit.min(current.next);
        current.rest_gone = true;
        let cut = Cut { serial: current.job.serial, item: current.next };
        if current.running.is_none() {
            state.current = None;
        }
        Some(cut)
    }

    /// Marks items that must not run. Returns those that had not begun; a running one is told to stop, if
    /// `stop` says so of it.
    pub fn skip(&self, serial: u64, items: &[u32], stop: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut state = self.lock();
        let mut unstarted = Vec::new();
        if let Some(current) = state.current.as_mut().filter(|current| current.job.serial == serial) {
            for &item in items {
                if item >= current.next {
                    current.skip[item as usize] = true;
                    unstarted.push(item);
                } else if current.running.is_some() && item + 1 == current.next && stop(item) {
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
        } else if let Some((_, skip)) = state.queue.iter_mut().find(|(job, _)| job.serial == serial) {
            for &item in items {
                skip[item as usize] = true;
                unstarted.push(item);
            }
        }
        self.wake.notify_one();
        unstarted
    }

    /// Ends the compute loop as soon as no item runs.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }
}

fn running(current: &Current) -> Option<Running> {
    let began = current.running?;
    Some(Running {
        serial: current.job.serial,
        position: current.job.position,
        item: current.next - 1,
        message_for: current.began.elapsed(),
        item_for: began.elapsed(),
    })
}

/// The next item that may begin, marked as running.
fn advance(state: &mut State) -> Option<Item> {
    loop {
        if let Some(current) = &mut state.current {
            current.pass_skipped();
            if current.next < current.limit {
                let item = current.next;
                current.next += 1;
                current.running = Some(Instant::now());
                return Some(Item { job: Arc::clone(&current.job), item });
            }
            if !current.is_over() {
                // Stopped early: later messages wait until the rest of this one was given back.
                return None;
            }
        }
        // What has ended keeps its arguments and its shared input no longer.
        state.current = None;
        state.current = Some(Current::of(state.queue.pop_front()?));
    }
}

#[cfg(test)]
mod tests;
