//! The messages in flight, as the I/O thread knows them: the same list as in Redis, in the same order.

use std::collections::VecDeque;
use std::time::Duration;

use gristmill_broker::{EffectiveOptions, ParkedList};
use gristmill_shared::message::{BlobRef, Body};
use gristmill_shared::{BatchId, Certificate, KernelError, Message, OutcomeKind, RegisteredKernel, TaskTime};

/// How one item ended, before anybody asked whether it is tried again.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It returned a value.
    Value(Vec<u8>),
    /// It returned a value that was uploaded.
    Uploaded(BlobRef),
    /// Its attempt failed in this way; a retry may follow.
    Attempt(OutcomeKind, KernelError),
    /// A limit has ended its attempt, and with it this process; a retry may follow.
    Stopped(OutcomeKind, Box<Certificate>),
    /// It ended for good.
    Final(OutcomeKind, String),
}

/// What is to be done with a message.
pub enum Fate {
    /// Its items run; the body was read.
    Run {
        /// What computes it.
        kernel: RegisteredKernel,
        /// Place of the kernel in the table.
        place: u32,
        /// Its body.
        body: Box<Body>,
    },
    /// It goes to a parked list as it is.
    Park(ParkedList),
    /// Nobody looks at its body; all items have ended.
    Unreadable,
}

/// One message in flight.
pub struct Held {
    /// Names it in this process; positions are used again after a release.
    pub serial: u64,
    /// The message.
    pub message: Message,
    /// What is to be done with it.
    pub fate: Fate,
    /// Size in Redis.
    pub bytes: usize,
    /// How its items ended.
    pub ends: Vec<Option<End>>,
    /// How long they ran.
    pub times: Vec<TaskTime>,
    missing: u32,
    /// Whether the compute thread has it.
    pub handed_over: bool,
}

impl Held {
    /// A message that was just claimed.
    pub fn new(serial: u64, message: Message, fate: Fate, bytes: usize) -> Self {
        let count = message.header.count;
        let ends = vec![None; count as usize];
        let missing = if matches!(fate, Fate::Park(_)) { 0 } else { count };
        let times = vec![TaskTime::UNKNOWN; count as usize];
        Self { serial, message, fate, bytes, ends, times, missing, handed_over: false }
    }

    /// Whether what its tasks return is dropped.
    pub fn ignores_results(&self) -> bool {
        let Fate::Run { kernel, body, .. } = &self.fate else { return false };
        EffectiveOptions::of(kernel.options, &body.options).ignore_result
    }

    /// Whether nothing of it runs or will run here.
    pub fn is_over(&self) -> bool {
        self.missing == 0
    }

    /// Records the end of one item; the first word counts.
    pub fn end(&mut self, item: u32, end: End) {
        if let Some(slot @ None) = self.ends.get_mut(item as usize) {
            *slot = Some(end);
            self.missing = self.missing.saturating_sub(1);
        }
    }

    /// Records the end of an item that ran for so long.
    pub fn end_after(&mut self, item: u32, end: End, run: Duration) {
        if let (Some(None), Some(time)) = (self.ends.get(item as usize), self.times.get_mut(item as usize)) {
            *time = TaskTime::of(run);
        }
        self.end(item, end);
    }

    /// Records the same end for every item that has none.
    pub fn end_all(&mut self, end: &End) {
        for item in 0..self.message.header.count {
            self.end(item, end.clone());
        }
    }

    /// Ends the whole message without a look at its body.
    pub fn end_unrun(&mut self, end: &End) {
        if matches!(self.fate, Fate::Park(_)) {
            self.fate = Fate::Unreadable;
            self.missing = self.message.header.count;
        }
        self.end_all(end);
    }

    /// The items that must not run: they have ended without.
    pub fn skip(&self) -> Vec<bool> {
        self.ends.iter().map(Option::is_some).collect()
    }

    /// Keeps only the items before `count`; the others were given back in `started`'s place.
    fn shorten(&mut self, started: Message) {
        self.ends.truncate(started.header.count as usize);
        self.times.truncate(self.ends.len());
        self.missing = self.ends.iter().filter(|end| end.is_none()).count() as u32;
        if let Fate::Run { body, .. } = &mut self.fate {
            body.args.truncate(self.ends.len());
        }
        self.message = started;
    }
}

/// All messages in flight. Position `base + i` holds the i-th.
#[derive(Default)]
pub struct InFlight {
    base: u64,
    held: VecDeque<Held>,
    serials: u64,
}

impl InFlight {
    /// Position of the head.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The position that the next claimed message gets.
    pub fn end(&self) -> u64 {
        self.base + self.held.len() as u64
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What they weigh.
    pub fn bytes(&self) -> usize {
        self.held.iter().map(|held| held.bytes).sum()
    }

    /// A name for a message of this process.
    pub fn next_serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }

    /// Appends a claimed message.
    pub fn push(&mut self, held: Held) {
        self.held.push_back(held);
    }

    /// In order of position.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.iter()
    }

    /// In order of position.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.held.iter_mut()
    }

    /// The message at the i-th place from the head.
    pub fn at(&self, index: usize) -> Option<&Held> {
        self.held.get(index)
    }

    /// A message by its name, if it is still here.
    pub fn by_serial(&mut self, serial: u64) -> Option<&mut Held> {
        self.held.iter_mut().find(|held| held.serial == serial)
    }

    /// The first message that the compute thread does not have and that must run, with its position.
    pub fn next_to_hand_over(&mut self) -> Option<(u64, &mut Held)> {
        let base = self.base;
        let found = self.held.iter_mut().enumerate().find(|(_, held)| !held.handed_over && !held.is_over());
        found.map(|(index, held)| (base + index as u64, held))
    }

    /// How many messages at the head have ended.
    pub fn over_at_head(&self) -> usize {
        self.held.iter().take_while(|held| held.is_over()).count()
    }

    /// The first `take` messages.
    pub fn head(&self, take: usize) -> impl Iterator<Item = &Held> {
        self.held.iter().take(take)
    }

    /// Takes the first `take` messages off: they were settled.
    pub fn settled(&mut self, take: usize) {
        self.held.drain(..take.min(self.held.len()));
        self.base += take as u64;
    }

    /// Takes away what was released: everything from `from` on, and the rest of one before it.
    pub fn released(&mut self, from: u64, started: Option<(u64, Message)>) {
        self.held.truncate(from.saturating_sub(self.base) as usize);
        if let Some((position, message)) = started
            && let Some(held) = self.held.get_mut(position.saturating_sub(self.base) as usize)
        {
            held.shorten(message);
        }
    }

    /// The batches in flight, each once.
    pub fn batches(&self) -> Vec<BatchId> {
        let mut batches: Vec<_> = self.held.iter().map(|held| held.message.header.batch).collect();
        batches.sort_unstable();
        batches.dedup();
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::held;
    use super::*;

    #[test]
    fn only_ended_messages_at_the_head_count() {
        let mut inflight = InFlight::default();
        for serial in 1..=3 {
            inflight.push(held(serial, serial * 10, 2));
        }
        inflight.by_serial(2).unwrap().end_all(&End::Value(vec![1]));
        assert_eq!(inflight.over_at_head(), 0);
        let first = inflight.by_serial(1).unwrap();
        first.end(0, End::Value(vec![1]));
        first.end(0, End::Value(vec![2]));
        assert!(!first.is_over(), "one item cannot end twice");
        first.end(1, End::Value(vec![1]));
        assert_eq!(inflight.over_at_head(), 2);
        inflight.settled(2);
        assert_eq!((inflight.base(), inflight.end(), inflight.len()), (2, 3, 1));
    }

    #[test]
    fn a_task_or_its_kernel_drops_what_it_returns() {
        let mut held = held(1, 10, 1);
        assert!(!held.ignores_results());
        let Fate::Run { kernel, body, .. } = &mut held.fate else { panic!("it runs") };
        kernel.options.ignore_result = Some(true);
        body.options.ignore_result = Some(false);
        assert!(!held.ignores_results(), "the task's own word counts");
        let Fate::Run { body, .. } = &mut held.fate else { panic!("it runs") };
        body.options.ignore_result = None;
        assert!(held.ignores_results());
    }

    #[test]
    fn a_release_shortens_the_started_message_and_drops_the_tail() {
        let mut inflight = InFlight::default();
        for serial in 1..=3 {
            inflight.push(held(serial, serial * 10, 4));
        }
        inflight.settled(1);
        let first = inflight.by_serial(2).unwrap();
        first.end(0, End::Value(vec![1]));
        let Fate::Run { body, .. } = &first.fate else { panic!("it runs") };
        let started = first.message.slice(body, 0..2).unwrap();
        inflight.released(2, Some((1, started)));
        assert_eq!((inflight.base(), inflight.end()), (1, 2));
        let first = inflight.by_serial(2).unwrap();
        assert_eq!(first.ends.len(), 2);
        first.end(1, End::Value(vec![1]));
        assert!(first.is_over());
    }
}
