use std::collections::VecDeque;
use std::time::Duration;

use redis::Pipeline;
use tokio::time::timeout;

use super::items::{self, Item, PIECE_BYTES, PIECE_FIRST, PIECE_RUNS, Run};
use super::reader::Reader;
use super::stream::{LOOK_AGAIN, time_to_look};
use super::{Collected, Hub, ResultsError, Subscription};
use crate::defaults::{MESSAGE_TASKS_MAX, RESULTS_PER_BUCKET};
use crate::ids::BatchId;
use crate::keys::Keys;

/// The outcomes of a batch in the order of its tasks, as far as they go. Waits for each of them, and holds no more than a
/// piece: what ended before its turn stays in Redis, which is for batches whose results nobody forgets meanwhile.
pub struct InOrder {
    reader: Reader,
    hub: Hub,
    batch: BatchId,
    subscription: Option<Subscription>,
    /// What is delivered next.
    next: u64,
    /// What is read next: all before it is among the items.
    at: u64,
    /// Read, not delivered yet.
    items: VecDeque<Item>,
    /// First indices of stored runs, from `at` on, in order.
    listed: VecDeque<u64>,
    piece: usize,
    reads_blobs: bool,
    over: bool,
}

/// Of the batch's hash.
struct Look {
    single: bool,
    outcome: Option<Vec<u8>>,
    /// How many tasks it has, once it has finished.
    finished: Option<u64>,
    ttl_ms: i64,
}

impl InOrder {
    pub(super) fn new(reader: Reader, hub: Hub, batch: BatchId) -> Self {
        Self {
            reader,
            hub,
            batch,
            subscription: None,
            next: 0,
            at: 0,
            items: VecDeque::new(),
            listed: VecDeque::new(),
            piece: PIECE_FIRST,
            reads_blobs: true,
            over: false,
        }
    }

    /// Leaves outputs that stand in blobs there: such an outcome comes as [`Outcome::Blob`](crate::Outcome::Blob).
    pub fn without_blobs(mut self) -> Self {
        self.reads_blobs = false;
        self
    }

    /// Goes on with this task, which is not before the next one.
    pub fn skip_to(&mut self, index: u64) {
        self.next = self.next.max(index);
        self.at = self.at.max(index);
    }

    /// Waits for the next outcome. `None`: the batch has finished and all is delivered. An outcome that is not there
    /// although the batch has finished was delivered to somebody else. An error about one task
    /// ([`ResultsError::task`]) stands for its outcome, and it goes on. The future may be dropped at any time without
    /// loss.
    pub async fn next(&mut self) -> Option<Result<(u64, Collected), ResultsError>> {
        loop {
            if let Some(delivery) = self.deliver().await {
                return Some(delivery);
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.step().await {
                return Some(Err(error));
            }
        }
    }

    async fn deliver(&mut self) -> Option<Result<(u64, Collected), ResultsError>> {
        loop {
            let index = match self.items.front()? {
                Item::Outcome(index, ..) | Item::Delivered(index) | Item::Unreadable(index, _)
                    if *index >= self.next =>
                {
                    *index
                }
                _ => {
                    self.items.pop_front();
                    continue;
                }
            };
            // The item stays in front until its blob is here: this future may be dropped.
            let front = self.items.front()?;
            let blob = if self.reads_blobs { self.reader.output(self.batch, front).await } else { Ok(None) };
            let blob = match blob {
                Ok(blob) => blob,
                Err(error) => return Some(Err(error)),
            };
            let item = self.items.pop_front()?;
            self.next = index + 1;
            return Some(item.collected(self.batch.task(index), blob).map(|collected| (index, collected)));
        }
    }

    async fn step(&mut self) -> Result<(), ResultsError> {
        while self.listed.front().is_some_and(|first| *first < self.at) {
            self.listed.pop_front();
        }
        if self.listed.front() == Some(&self.at) { self.read().await } else { self.look().await }
    }

    /// Reads what is listed, as far as it follows without a gap.
    async fn read(&mut self) -> Result<(), ResultsError> {
        let count = self.piece.min(self.listed.len());
        let mut question = Pipeline::with_capacity(count);
        for &first in self.listed.iter().take(count) {
            question.hget(self.reader.keys.results(self.batch, Keys::bucket_of(first)), first);
        }
        let values: Vec<Option<Vec<u8>>> = self.reader.ask(&question).await?;
        let bytes: usize = values.iter().flatten().map(Vec::len).sum();
        self.piece = (PIECE_BYTES / (bytes / count).max(1)).clamp(1, PIECE_RUNS);
        let firsts: Vec<u64> = self.listed.drain(..count).collect();
        for (first, value) in firsts.into_iter().zip(values) {
            // A run in between is not there, or this one is gone since: looked at anew.
            if first != self.at || value.is_none() {
                self.listed.clear();
                break;
            }
            self.append_sound(first, value.as_deref());
        }
        Ok(())
    }

    /// Appends a stored run that holds what is read next; false: it does not.
    fn append(&mut self, first: u64, value: Option<&[u8]>) -> bool {
        let Some(count) =
            value.and_then(|bytes| bytes.first_chunk()).map(|count| u64::from(u32::from_be_bytes(*count)))
        else {
            return false;
        };
        if count == 0 || count > u64::from(MESSAGE_TASKS_MAX) || first + count <= self.at {
            return false;
        }
        items::append(&mut self.items, Run { first, count }, value);
        self.at = first + count;
        true
    }

    /// The same for a run that begins there; what makes no sense stands for one outcome.
    fn append_sound(&mut self, first: u64, value: Option<&[u8]>) {
        if !self.append(first, value) {
            self.items.push_back(Item::Unreadable(self.at, "what is stored is no run".to_owned()));
            self.at += 1;
        }
    }

    /// Lists the runs from here on, or waits for one.
    async fn look(&mut self) -> Result<(), ResultsError> {
        if self.subscription.is_none() {
            self.subscription = Some(self.reader.subscribe(&self.hub, self.batch).await?);
        }
        let (keys, bucket) = (&self.reader.keys, Keys::bucket_of(self.at));
        let mut question = Pipeline::with_capacity(3);
        question.hmget(keys.batch(self.batch), &["single", "state", "total", "outcome"]);
        question.hexists(keys.results(self.batch, bucket), self.at);
        type Fields = (Option<String>, Option<String>, Option<u64>, Option<Vec<u8>>);
        question.pttl(keys.batch(self.batch));
        let ((single, state, total, outcome), is_there, ttl_ms): (Fields, bool, i64) =
            self.reader.ask(&question).await?;
        let Some(state) = state else {
            self.over = true;
            return Err(ResultsError::NoSuchBatch(self.batch));
        };
        let finished = (state == "finished").then(|| total.unwrap_or_default());
        let look = Look { single: single.as_deref() == Some("1"), outcome, finished, ttl_ms };
        if look.single {
            return self.see_single(look).await;
        }
        match look.finished {
            Some(total) if self.at >= total => self.over = true,
            Some(total) => {
                self.listed = self.list(bucket).await?;
                if self.listed.front() != Some(&self.at) {
                    self.gap(total).await?;
                }
            }
            None if is_there => self.listed = self.list(bucket).await?,
            None => self.wait(LOOK_AGAIN).await,
        }
        Ok(())
    }

    async fn wait(&mut self, time: Duration) {
        if let Some(subscription) = &mut self.subscription {
            // Either way it is looked again.
            let _ = timeout(time, subscription.next()).await;
        }
    }

    async fn see_single(&mut self, look: Look) -> Result<(), ResultsError> {
        match look.outcome {
            Some(run) if self.at == 0 => self.append_sound(0, Some(&run)),
            None if look.finished.is_none() => self.wait(time_to_look(look.ttl_ms)).await,
            _ => self.over = true,
        }
        Ok(())
    }

    /// The first indices of the bucket's runs from `at` on.
    async fn list(&self, bucket: u64) -> Result<VecDeque<u64>, ResultsError> {
        let mut firsts: Vec<u64> = self.firsts(bucket).await?;
        firsts.retain(|first| *first >= self.at);
        Ok(firsts.into())
    }

    async fn firsts(&self, bucket: u64) -> Result<Vec<u64>, ResultsError> {
        let mut question = Pipeline::with_capacity(1);
        question.hkeys(self.reader.keys.results(self.batch, bucket));
        let (mut firsts,): (Vec<u64>,) = self.reader.ask(&question).await?;
        firsts.sort_unstable();
        Ok(firsts)
    }

    /// The batch has finished, and no run begins at `at`. Either one that began before reaches beyond it, since Redis
    /// came back with an older state and what was settled anew was divided in another way; or it was forgotten.
    async fn gap(&mut self, total: u64) -> Result<(), ResultsError> {
        let bucket = Keys::bucket_of(self.at);
        for bucket in (bucket.saturating_sub(1)..=bucket).rev() {
            let before = self.firsts(bucket).await?.into_iter().rfind(|first| *first < self.at);
            let Some(first) = before else { continue };
            let mut question = Pipeline::with_capacity(1);
            question.hget(self.reader.keys.results(self.batch, bucket), first);
            let (value,): (Option<Vec<u8>>,) = self.reader.ask(&question).await?;
            if self.append(first, value.as_deref()) {
                return Ok(());
            }
            break;
        }
        let end_of_bucket = (bucket + 1) * RESULTS_PER_BUCKET;
        let end = self.listed.front().copied().unwrap_or(end_of_bucket).min(total);
        self.items.extend((self.at..end).map(Item::Delivered));
        self.at = end;
        Ok(())
    }
}
