use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use redis::Pipeline;
use tokio::time::timeout;

use super::items::{self, Item, PIECE_BYTES, PIECE_FIRST, PIECE_RUNS, Run};
use super::reader::Reader;
use super::{Collected, Hint, Hub, ResultsError, Subscription};
use crate::ids::BatchId;
use crate::intervals::Intervals;
use crate::keys::Keys;
use crate::message::BlobRef;
use crate::outcome::Outcome;

/// Runs listed at once.
const SLICE: usize = 500;
/// Keys that expire send no word: who waits looks once in a while whether they are still there.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// A key that should have expired by then has.
const EXPIRED_BY: Duration = Duration::from_millis(20);

/// How long to wait for a word about a batch of one, whose key has this `PTTL`, before looking whether it is there.
pub(super) fn time_to_look(ttl_ms: i64) -> Duration {
    u64::try_from(ttl_ms).map_or(LOOK_AGAIN, |ms| (Duration::from_millis(ms) + EXPIRED_BY).min(LOOK_AGAIN))
}

/// The outcomes of one batch, each index once: in the order in which they were settled if it waits for more,
/// else in the order of the indices. Holds no more than a slice of them.
pub struct CollectorStream {
    reader: Reader,
    batch: BatchId,
    /// Absent: what is there now is all.
    hub: Option<Hub>,
    subscription: Option<Subscription>,
    /// Whether it may be a batch of one, for all that is known: such a batch has no list of runs.
    maybe_single: bool,
    state: State,
    /// How far the list of runs was read.
    cursor: usize,
    /// Whether the list was read once more from its beginning, because results were missing at its end.
    reread: bool,
    /// Listed, not read yet: where in the list, and what.
    runs: VecDeque<(usize, Run)>,
    piece: usize,
    /// Read, not delivered yet.
    items: VecDeque<Item>,
    delivered: Intervals,
    forgettable: Option<Vec<DeliveredRun>>,
    /// Blobs of the run whose items are in front.
    outputs: Vec<BlobRef>,
    /// Only these indices are wanted, and were not delivered yet.
    only: Option<BTreeSet<u64>>,
    reads_blobs: bool,
}

/// A run that was delivered whole.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveredRun {
    /// Its tasks.
    pub indices: Range<u64>,
    /// The blobs that held outputs of theirs.
    pub outputs: Vec<BlobRef>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// There may be more in the list of runs.
    Look,
    /// All that was listed is read, and more will come.
    Wait {
        single: bool,
        /// How long without a word.
        time: Duration,
    },
    /// The batch has finished with so many tasks, and all that was listed is read.
    Finished {
        total: u64,
    },
    Ended,
}

/// Of the batch's hash: state, total, tasks.
type Fields = (Option<String>, Option<u64>, Option<u64>);
/// Of that of a batch of one: single, state, outcome.
type FieldsOfOne = (Option<String>, Option<String>, Option<Vec<u8>>);

impl CollectorStream {
    pub(super) fn new(reader: Reader, hub: Option<Hub>, batch: BatchId) -> Self {
        Self {
            reader,
            batch,
            hub,
            subscription: None,
            maybe_single: true,
            state: State::Look,
            cursor: 0,
            reread: false,
            runs: VecDeque::new(),
            piece: PIECE_FIRST,
            items: VecDeque::new(),
            delivered: Intervals::default(),
            forgettable: None,
            outputs: Vec::new(),
            only: None,
            reads_blobs: true,
        }
    }

    /// Delivers the outcomes of these indices and no others, and then ends. Reads nothing but the runs that hold them.
    pub fn only(mut self, indices: impl IntoIterator<Item = u64>) -> Self {
        self.only = Some(indices.into_iter().collect());
        self
    }

    /// Leaves outputs that stand in blobs there: such an outcome comes as [`Outcome::Blob`].
    pub fn without_blobs(mut self) -> Self {
        self.reads_blobs = false;
        self
    }

    /// Keeps a list of the runs that were delivered whole, for [`CollectorStream::take_forgettable`].
    pub fn remember_runs(mut self) -> Self {
        self.forgettable = Some(Vec::new());
        self
    }

    /// Each run that was delivered whole since the last call, and which the batch may
    /// forget. The last run counts once [`CollectorStream::next`] was called again.
    pub fn take_forgettable(&mut self) -> Vec<DeliveredRun> {
        self.forgettable.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many outcomes were delivered.
    pub fn delivered(&self) -> u64 {
        self.delivered.len()
    }

    /// Waits for the next outcome. `None`: the batch has finished and all is delivered. An error about
    /// one task ([`ResultsError::task`]) stands for its outcome, and the stream goes on. After a
    /// [`ResultsError::Connection`] it may be asked again. The future may be dropped at any time without
    /// loss.
    pub async fn next(&mut self) -> Option<Result<(u64, Collected), ResultsError>> {
        loop {
            if let Some(delivery) = self.deliver().await {
                return Some(delivery);
            }
            let step = if !self.runs.is_empty() && !self.must_list() {
                self.read().await
            } else {
                match self.state {
                    State::Look => self.look().await,
                    State::Wait { single, time } => self.wait(single, time).await,
                    State::Finished { total } => self.check(total),
                    State::Ended => return None,
                }
            };
            if let Err(error) = step {
                return Some(Err(error));
            }
        }
    }

    /// Without waiting, outcomes come in the order of their indices: all runs are listed before the first is read.
    fn must_list(&self) -> bool {
        self.hub.is_none() && matches!(self.state, State::Look)
    }

    /// The next item that is here and was not delivered yet.
    async fn deliver(&mut self) -> Option<Result<(u64, Collected), ResultsError>> {
        loop {
            let index = match self.items.front()? {
                Item::EndOfRun(run) => {
                    let run = DeliveredRun { indices: run.indices(), outputs: std::mem::take(&mut self.outputs) };
                    self.forgettable.iter_mut().for_each(|runs| runs.push(run.clone()));
                    self.items.pop_front();
                    continue;
                }
                Item::Outcome(index, ..) | Item::Delivered(index) | Item::Unreadable(index, _) => *index,
            };
            if self.delivered.contains(index) || self.only.as_ref().is_some_and(|only| !only.contains(&index)) {
                self.items.pop_front();
                continue;
            }
            // The item stays in front until its blob is here: this future may be dropped.
            let front = self.items.front()?;
            let blob = if self.reads_blobs { self.reader.output(self.batch, front).await } else { Ok(None) };
            let blob = match blob {
                Ok(blob) => blob,
                Err(error) => return Some(Err(error)),
            };
            let item = self.items.pop_front()?;
            if let Item::Outcome(_, Outcome::Blob(blob), _) = &item {
                self.outputs.push(blob.clone());
            }
            self.delivered.insert(index);
            self.strike(index);
            return Some(item.collected(self.batch.task(index), blob).map(|collected| (index, collected)));
        }
    }

    /// Reads the batch's state, then what was listed since the last look: once the state says
    /// finished, the list is complete.
    async fn look(&mut self) -> Result<(), ResultsError> {
        self.subscribe().await?;
        if self.maybe_single {
            return self.look_at_one().await;
        }
        let keys = &self.reader.keys;
        let mut question = Pipeline::with_capacity(3);
        question.hmget(keys.batch(self.batch), &["state", "total", "tasks"]);
        question.llen(keys.runs(self.batch));
        let end = self.cursor + SLICE - 1;
        question.lrange(keys.runs(self.batch), self.cursor as isize, end as isize);
        let (fields, length, listed): (Fields, usize, Vec<String>) = self.reader.ask(&question).await?;

        let (Some(state), total, tasks) = fields else { return self.no_such_batch() };
        let finished = state == "finished";
        // A batch that a revived task brought back has fewer tasks than its last index tells.
        if let Some(beyond) = total.and_then(|total| self.wanted_from(total.max(tasks.unwrap_or(0)))) {
            return self.no_such_task(beyond);
        }
        if length < self.cursor {
            // Redis came back with an older state; what is settled again may stand in another order.
            self.cursor = 0;
            return Ok(());
        }
        self.see_runs(&listed);
        self.cursor += listed.len();
        self.state = match total {
            _ if listed.len() == SLICE => State::Look,
            _ if self.only.is_some() && self.hub.is_none() => State::Ended,
            total if finished => State::Finished { total: total.unwrap_or_default() },
            _ if self.hub.is_some() => State::Wait { single: false, time: LOOK_AGAIN },
            _ => State::Ended,
        };
        if self.hub.is_none() && !self.must_list() {
            self.runs.make_contiguous().sort_unstable_by_key(|(_, run)| run.first);
        }
        Ok(())
    }

    /// Reads the one outcome of a batch of one. A batch of several is then looked at again, with its list.
    async fn look_at_one(&mut self) -> Result<(), ResultsError> {
        let key = self.reader.keys.batch(self.batch);
        let mut question = Pipeline::with_capacity(2);
        question.hmget(&key, &["single", "state", "outcome"]).pttl(&key);
        let (fields, ttl_ms): (FieldsOfOne, i64) = self.reader.ask(&question).await?;
        let (single, Some(state), outcome) = fields else { return self.no_such_batch() };
        self.maybe_single = single.as_deref() == Some("1");
        if !self.maybe_single {
            return Ok(());
        }
        if let Some(beyond) = self.wanted_from(1) {
            return self.no_such_task(beyond);
        }
        self.see_single(outcome.as_deref(), state == "finished", time_to_look(ttl_ms));
        Ok(())
    }

    /// The first index from this one on that is wanted by name.
    fn wanted_from(&self, index: u64) -> Option<u64> {
        self.only.as_ref()?.range(index..).next().copied()
    }

    /// Whoever wanted this index by name has it; after the last of those nothing more is wanted.
    fn strike(&mut self, index: u64) {
        let Some(only) = &mut self.only else { return };
        only.remove(&index);
        if only.is_empty() {
            self.state = State::Ended;
            self.items.clear();
            self.runs.clear();
        }
    }

    fn no_such_batch(&mut self) -> Result<(), ResultsError> {
        self.state = State::Ended;
        Err(ResultsError::NoSuchBatch(self.batch))
    }

    fn no_such_task(&mut self, index: u64) -> Result<(), ResultsError> {
        self.strike(index);
        Err(ResultsError::NoSuchTask(self.batch.task(index)))
    }

    /// Subscribes before the first look, so that nothing can happen in between unnoticed.
    async fn subscribe(&mut self) -> Result<(), ResultsError> {
        let (Some(hub), None) = (&self.hub, &self.subscription) else { return Ok(()) };
        self.subscription = Some(self.reader.subscribe(hub, self.batch).await?);
        Ok(())
    }

    fn see_single(&mut self, outcome: Option<&[u8]>, finished: bool, time: Duration) {
        self.state = match outcome {
            Some(run) => {
                items::append(&mut self.items, Run { first: 0, count: 1 }, Some(run));
                State::Ended
            }
            None if finished => State::Finished { total: 1 },
            None if self.hub.is_some() => State::Wait { single: true, time },
            None => State::Ended,
        };
    }

    fn see_runs(&mut self, listed: &[String]) {
        for (at, text) in (self.cursor..).zip(listed) {
            match Run::parse(text) {
                Some(run) if self.only.as_ref().is_some_and(|only| only.range(run.indices()).next().is_none()) => {}
                Some(run) if run.indices().all(|index| self.delivered.contains(index)) => {}
                Some(run) => self.runs.push_back((at, run)),
                None => tracing::warn!(batch = %self.batch, run = %text, "the list of runs holds what is no run"),
            }
        }
    }

    /// Reads a piece of the listed runs.
    async fn read(&mut self) -> Result<(), ResultsError> {
        let count = self.piece.min(self.runs.len());
        let mut question = Pipeline::with_capacity(count);
        for (_, run) in self.runs.iter().take(count) {
            question.hget(self.reader.keys.results(self.batch, Keys::bucket_of(run.first)), run.first);
        }
        let mut values: Vec<Option<Vec<u8>>> = self.reader.ask(&question).await?;
        if !self.are_still_listed(&mut values).await? {
            // Redis came back with an older state, in which other runs are or will be settled.
            self.runs.clear();
            (self.cursor, self.state) = (0, State::Look);
            return Ok(());
        }
        let bytes: usize = values.iter().flatten().map(Vec::len).sum();
        self.piece = (PIECE_BYTES / (bytes / count).max(1)).clamp(1, PIECE_RUNS);
        for ((_, run), value) in self.runs.drain(..count).zip(values) {
            items::append(&mut self.items, run, value.as_deref());
        }
        Ok(())
    }

    /// Where a run is missing, it was delivered and forgotten; or it is not settled any more, since Redis has lost
    /// its last second. Then something else stands at its place in the list, or nothing.
    async fn are_still_listed(&self, values: &mut [Option<Vec<u8>>]) -> Result<bool, ResultsError> {
        let (keys, batch) = (&self.reader.keys, self.batch);
        let listed = self.runs.iter().zip(values.iter_mut());
        let doubtful: Vec<_> = listed.filter(|((_, run), value)| !run.fits(value.as_deref())).collect();
        if doubtful.is_empty() {
            return Ok(true);
        }
        let mut question = Pipeline::with_capacity(2 * doubtful.len());
        for ((at, run), _) in &doubtful {
            question.lindex(keys.runs(batch), *at as isize);
            question.hget(keys.results(batch, Keys::bucket_of(run.first)), run.first);
        }
        let answers: Vec<Option<Vec<u8>>> = self.reader.ask(&question).await?;
        let mut answers = answers.into_iter();
        for ((_, run), value) in doubtful {
            let listed = answers.next().flatten();
            *value = answers.next().flatten();
            if listed.as_deref() != Some(run.text().as_bytes()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn wait(&mut self, single: bool, time: Duration) -> Result<(), ResultsError> {
        let hint = match &mut self.subscription {
            Some(subscription) => timeout(time, subscription.next()).await,
            None => Ok(Hint::Look),
        };
        match hint {
            Ok(Hint::Outcome(run)) if single => self.see_single(Some(&run), false, time),
            _ => self.state = State::Look,
        }
        Ok(())
    }

    /// The batch has finished: sees that nothing is missing.
    fn check(&mut self, total: u64) -> Result<(), ResultsError> {
        let missing = match &self.only {
            Some(only) => only.len() as u64,
            None => total.saturating_sub(self.delivered.len()),
        };
        if missing > 0 && !self.reread {
            // The list may have been written anew behind the cursor, after Redis had lost its last second.
            (self.reread, self.cursor, self.state) = (true, 0, State::Look);
            return Ok(());
        }
        self.state = State::Ended;
        if missing > 0 { Err(ResultsError::Expired { batch: self.batch, missing }) } else { Ok(()) }
    }
}
