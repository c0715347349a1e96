//! What Redis should hold, as far as it follows from the calls and their answers. Lanes are not modelled: the
//! recount finds the messages there. A rollback of Redis rolls this back too; what actors remember stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gristmill_broker::{Destination, Ending, Release, Run, Settlement};
use gristmill_shared::outcome::encode_run;
use gristmill_shared::{BatchId, ConsumerId, Header, Message, Outcome, OutcomeKind, defaults};

/// Half a second off the grid, as everything that is compared with the clock.
pub const LEASE_MS: u64 = 10_500;
/// An odd number of seconds.
pub const RESULT_TTL_MS: u64 = 24 * 3_600_000 + 1_000;

/// A promise that did not hold, in words.
#[derive(Debug)]
pub struct Broken(pub String);

/// Whatever fails while a history is played breaks a promise: nothing here is a foreign hand's fault.
pub type Held<T = ()> = Result<T, Broken>;

impl<E: fmt::Display> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Breaks unless a condition holds.
#[macro_export]
macro_rules! hold {
    ($condition:expr, $($words:tt)*) => {
        if !$condition {
            return Err($crate::model::Broken(format!($($words)*)));
        }
    };
}

/// What the fence should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    Run,
    Replay,
    Lost,
}

#[derive(Debug, Clone, Default)]
pub struct Lease {
    pub op: u64,
    pub settled: u64,
    pub deadline: u64,
    pub inflight: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub single: bool,
    pub next_seq: u64,
    pub tasks: u64,
    pub total: Option<u64>,
    pub finished_at: Option<u64>,
    pub touched: u64,
    pub last_expiry: u64,
    /// It was gone, and came back with a revived task; a number as dead letters have.
    pub recreated: Option<u64>,
    /// The tasks that count: all, but for a batch that came back.
    pub members: BTreeSet<u64>,
    /// The tasks that have ended.
    pub ended: BTreeSet<u64>,
    pub counts: [u64; 8],
    /// What readers find: first index and outcomes of each run.
    pub fields: BTreeMap<u64, Vec<Outcome>>,
    /// What the stored runs take, by first index, and what is counted of it. What a revived task overwrites stays counted.
    pub sizes: BTreeMap<u64, u64>,
    pub bytes: u64,
    /// What the results may take; none for a batch of one, or one that came back.
    pub budget: Option<u64>,
    pub stopped: bool,
}

impl Batch {
    pub fn outcomes(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Stragglers of its first life may count in a batch that came back: then there are more.
    pub fn has_all_outcomes(&self) -> bool {
        self.total.is_some_and(|total| self.outcomes() >= total)
    }

    /// When nothing holds it any more.
    pub fn life_ends(&self) -> u64 {
        match self.finished_at {
            Some(at) if self.has_all_outcomes() => at.max(self.touched) + RESULT_TTL_MS,
            _ => self.touched.max(self.last_expiry) + RESULT_TTL_MS,
        }
    }
}

/// A mark of cancelled tasks.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    All,
    Tasks(Vec<u64>),
    /// What has not started, because the results take more bytes; and these tasks even if they run.
    OverBudget(u64, Vec<u64>),
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub now: u64,
    pub leases: BTreeMap<ConsumerId, Lease>,
    /// Message, and a number that no other suspect ever had.
    pub suspects: BTreeMap<String, (Vec<u8>, u64)>,
    pub batches: BTreeMap<BatchId, Batch>,
    pub marks: BTreeMap<BatchId, Mark>,
    /// Dead letters of tasks: a number that no other letter ever had, and when it was buried.
    pub dead: BTreeMap<String, (u64, u64)>,
    /// Due times by queue.
    pub due: BTreeMap<String, Vec<u64>>,
    pub blobs: BTreeSet<BatchId>,
    pub paused: BTreeSet<String>,
    /// Queues with a depth limit of their own.
    pub limits: BTreeSet<String>,
    pub last_tick: Option<u64>,
    pub grace_until: u64,
    pub orphaned: u64,
    pub serial: u64,
}

/// What a call wrote down.
#[derive(Debug, Default)]
pub struct Written {
    pub recorded: usize,
    pub orphaned: usize,
    pub finished: usize,
}

impl Model {
    pub fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub fn fence(&self, consumer: ConsumerId, op: u64) -> Fence {
        match self.leases.get(&consumer) {
            Some(lease) if lease.op + 1 == op => Fence::Run,
            Some(lease) if lease.op == op => Fence::Replay,
            _ => Fence::Lost,
        }
    }

    /// Whether a claim made now may be reclaimed because its deadline has passed.
    pub fn has_expired(&self, lease: &Lease) -> bool {
        let gap = defaults::TICK_GAP.as_millis() as u64;
        let fresh = self.last_tick.is_some_and(|tick| self.now - tick <= gap);
        lease.deadline < self.now && fresh && self.now > self.grace_until
    }

    /// Notes that `op` ran.
    pub fn keep_lease(&mut self, consumer: ConsumerId, op: u64) -> Held<&mut Lease> {
        let deadline = self.now + LEASE_MS;
        let lease = self.leases.get_mut(&consumer).ok_or_else(|| Broken("a call ran without a lease".into()))?;
        (lease.op, lease.deadline) = (op, deadline);
        Ok(lease)
    }

    pub fn settle(&mut self, consumer: ConsumerId, op: u64, what: &Settlement) -> Held<Written> {
        let lease = self.keep_lease(consumer, op)?;
        let k = what.take.len();
        hold!(k <= lease.inflight.len(), "settle took {k} messages of {}", lease.inflight.len());
        lease.inflight.drain(..k);
        lease.settled += k as u64;
        self.end(&what.ending)
    }

    pub fn release(&mut self, consumer: ConsumerId, op: u64, what: &Release) -> Held {
        let lease = self.keep_lease(consumer, op)?;
        lease.inflight.truncate((what.from - lease.settled) as usize);
        if let Some((position, started)) = &what.started {
            lease.inflight[(position - lease.settled) as usize] = started.encode()?;
        }
        Ok(())
    }

    /// Writes an ending down. No task may end twice.
    pub fn end(&mut self, ending: &Ending) -> Held<Written> {
        let mut written = Written::default();
        for run in &ending.runs {
            self.record(run, &mut written)?;
        }
        for run in &ending.runs {
            written.finished += usize::from(self.finish(run.batch));
        }
        for run in &ending.runs {
            written.finished += usize::from(self.stop_over_budget(run.batch));
        }
        for replacement in &ending.replacements {
            let mark = self.marks.get(&replacement.message.header.batch);
            // What is cancelled as a whole is not scheduled: it ends soon.
            if let Destination::Scheduled { due_at_ms } = replacement.to
                && !matches!(mark, Some(Mark::All | Mark::OverBudget(..)))
            {
                let queue = replacement.message.header.queue.to_string();
                self.due.entry(queue).or_default().push(due_at_ms);
            }
        }
        for dead in &ending.dead {
            let serial = self.serial();
            self.dead.insert(dead.message.task(0).to_string(), (serial, self.now));
        }
        Ok(written)
    }

    fn record(&mut self, run: &Run, written: &mut Written) -> Held {
        let Run { batch: id, first, outcomes, .. } = run;
        let (id, first) = (*id, *first);
        let Some(batch) = self.batches.get_mut(&id) else {
            self.orphaned += outcomes.len() as u64;
            written.orphaned += outcomes.len();
            return Ok(());
        };
        for (index, outcome) in (first..).zip(outcomes) {
            hold!(batch.ended.insert(index), "task {} ended a second time, as {}", id.task(index), outcome.kind());
            batch.counts[usize::from(outcome.kind().code())] += 1;
        }
        batch.fields.insert(first, outcomes.to_vec());
        if !batch.single {
            let size = encode_run(outcomes, &run.times)?.len() as u64;
            batch.sizes.insert(first, size);
            batch.bytes += size;
        }
        written.recorded += outcomes.len();
        Ok(())
    }

    /// Nothing more is started of a batch whose results take too much. True if that finished it.
    fn stop_over_budget(&mut self, id: BatchId) -> bool {
        let Some(batch) = self.batches.get_mut(&id) else { return false };
        let Some(budget) = batch.budget.filter(|budget| batch.bytes > *budget) else { return false };
        if batch.stopped || batch.finished_at.is_some() {
            return false;
        }
        batch.stopped = true;
        let open = batch.total.is_none();
        match self.marks.entry(id).or_insert_with(|| Mark::Tasks(Vec::new())) {
            Mark::Tasks(tasks) => {
                let tasks = std::mem::take(tasks);
                self.marks.insert(id, Mark::OverBudget(budget, tasks));
            }
            Mark::All | Mark::OverBudget(..) => {}
        }
        open && self.seal(id)
    }

    /// Finishes a batch that is sealed and has all its outcomes; once.
    pub fn finish(&mut self, id: BatchId) -> bool {
        let now = self.now;
        let Some(batch) = self.batches.get_mut(&id) else { return false };
        let complete = batch.finished_at.is_none() && batch.has_all_outcomes();
        if complete {
            batch.finished_at = Some(now);
        }
        complete
    }

    /// Seals a batch with the tasks that it has.
    pub fn seal(&mut self, id: BatchId) -> bool {
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.total = Some(batch.tasks);
        }
        self.finish(id)
    }

    /// Takes a consumer's lease away; returns what it held, by position.
    pub fn drop_lease(&mut self, consumer: ConsumerId) -> Vec<(u64, Vec<u8>)> {
        let lease = self.leases.remove(&consumer).unwrap_or_default();
        (lease.settled..).zip(lease.inflight).collect()
    }

    /// Whether a mark of the whole batch waits for tasks that have not ended.
    pub fn is_cancelled_whole(&self, id: BatchId) -> bool {
        let is_over = |batch: &Batch| batch.finished_at.is_some() && batch.has_all_outcomes();
        let whole = matches!(self.marks.get(&id), Some(Mark::All | Mark::OverBudget(..)));
        whole && self.batches.get(&id).is_some_and(|batch| !is_over(batch))
    }

    /// Whoever revives a task wants it to run: it is not cancelled any more.
    fn unmark(&mut self, id: BatchId, index: u64) {
        if let Some(Mark::Tasks(marked)) = self.marks.get_mut(&id) {
            marked.retain(|task| *task != index);
            if !marked.is_empty() {
                return;
            }
        }
        self.marks.remove(&id);
    }

    /// A dead letter becomes a task again, and the count of its end is turned back. True if its batch was gone.
    pub fn revive(&mut self, message: &Message, kind: OutcomeKind, expires_at: u64) -> bool {
        let (now, serial) = (self.now, self.serial());
        let Header { batch: id, first, .. } = message.header;
        let letter = self.dead.remove(&message.task(0).to_string());
        self.unmark(id, first);
        let gone = !self.batches.contains_key(&id);
        let batch = self.batches.entry(id).or_default();
        if gone {
            (batch.single, batch.next_seq) = (message.header.is_single(), 1);
            (batch.recreated, batch.total) = (Some(serial), Some(0));
        }
        // What died before its batch came back was counted in the hash that is gone.
        let before = letter.is_some_and(|(letter, _)| batch.recreated.is_some_and(|came_back| letter < came_back));
        let count = &mut batch.counts[usize::from(kind.code())];
        if *count > 0 && !before {
            *count -= 1;
        } else if batch.recreated.is_some() {
            batch.total = batch.total.map(|total| total + 1);
            batch.tasks = batch.tasks.max(first + 1);
            batch.members.insert(first);
        }
        batch.ended.remove(&first);
        batch.touched = now;
        batch.last_expiry = batch.last_expiry.max(expires_at);
        gone
    }

    /// Whether nothing is left to judge or to settle.
    pub fn is_idle(&self) -> bool {
        self.suspects.is_empty() && self.leases.values().all(|lease| lease.inflight.is_empty())
    }

    /// Everything of a batch is gone.
    pub fn forget_batch(&mut self, id: BatchId) {
        self.batches.remove(&id);
    }
}
