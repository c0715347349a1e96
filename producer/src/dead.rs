//! Dead letters: tasks that ended badly, to be looked at, retried, or dropped.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use gristmill_broker::LetterRange;
pub use gristmill_broker::Revived;
use gristmill_shared::dead_letter::{DeadLetter, Epitaph};
use gristmill_shared::{BatchId, Body, Message, QueueName, TaskId};

use crate::calls::call;
use crate::client::Client;
use crate::error::ClientError;

/// Ids that are asked for at once.
const IDS: usize = 1_000;
/// Letters that are read at once: so many, and so many bytes.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 1024 * 1024;
/// The reason of what is no message.
const UNREADABLE: &str = "unreadable";

/// Which dead letters. By default: all.
#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    /// Only of these queues; none: of all.
    pub queues: Vec<QueueName>,
    /// Only of this kernel.
    pub kernel: Option<String>,
    /// Only with this reason: an outcome's word, or `unreadable`.
    pub reason: Option<String>,
    /// Only of this batch.
    pub batch: Option<BatchId>,
    /// Only what was buried longer ago.
    pub older_than: Option<Duration>,
    /// Only what was buried since.
    pub newer_than: Option<Duration>,
    /// The latest first, instead of the oldest.
    pub latest_first: bool,
}

impl DeadFilter {
    /// What the id alone tells.
    fn may_fit(&self, id: &str) -> bool {
        self.batch.is_none_or(|batch| id.strip_prefix(&batch.to_string()).is_some_and(|rest| rest.starts_with('.')))
    }

    fn fits(&self, letter: &DeadLetter) -> bool {
        self.kernel.as_ref().is_none_or(|kernel| *kernel == letter.epitaph.kernel)
            && self.reason.as_ref().is_none_or(|reason| *reason == letter.epitaph.reason)
    }
}

/// A dead letter, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadTask {
    /// Its queue.
    pub queue: QueueName,
    /// Its id: that of its task, or `unreadable.` and a hash.
    pub id: String,
    /// The letter.
    pub letter: DeadLetter,
}

impl DeadTask {
    fn read(queue: &QueueName, id: String, at_ms: u64, stored: Vec<u8>) -> Self {
        // A foreign hand wrote here: it is shown as what it is, and can be dropped.
        let strange = |message| DeadLetter {
            at_ms,
            epitaph: Epitaph { reason: UNREADABLE.to_owned(), kernel: String::new(), failure: None },
            message,
        };
        let letter = DeadLetter::parse(&stored).unwrap_or_else(|_| strange(stored));
        Self { queue: queue.clone(), id, letter: DeadLetter { at_ms, ..letter } }
    }

    /// The task; none if the letter holds no message.
    pub fn task(&self) -> Option<TaskId> {
        self.id.parse().ok()
    }

    /// The message of the task and its body, as far as they can be read.
    pub fn message(&self) -> Option<(Message, Option<Body>)> {
        let message = self.letter.message().ok()?;
        let body = message.read_body().ok();
        Some((message, body))
    }
}

/// A walk over dead letters in bounded pages.
pub struct DeadLetters {
    client: Client,
    filter: DeadFilter,
    began_ms: u64,
    queues: VecDeque<QueueName>,
    range: LetterRange,
    /// Those of the ids listed last that stand at the edge of what is left of the range.
    edge: HashSet<String>,
    /// Listed, not read yet.
    listed: VecDeque<(String, u64)>,
}

impl DeadLetters {
    /// The next letters that fit, at least one; none: that was all. What is retried or buried meanwhile does not matter.
    pub async fn next_page(&mut self) -> Result<Option<Vec<DeadTask>>, ClientError> {
        while let Some(queue) = self.queues.front().cloned() {
            if self.listed.is_empty() && !self.list(&queue).await? {
                self.queues.pop_front();
                self.start();
                continue;
            }
            let page = self.read(&queue).await?;
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn start(&mut self) {
        // What is retried and dies again is not met again.
        let ago = |age: Option<Duration>| self.began_ms.saturating_sub(age.unwrap_or_default().as_millis() as u64);
        let from_ms = self.filter.newer_than.map_or(0, |age| ago(Some(age)));
        let until_ms = ago(self.filter.older_than);
        self.range = LetterRange { from_ms, until_ms, latest_first: self.filter.latest_first };
        self.edge.clear();
    }

    /// Lists more ids. False: there are none.
    async fn list(&mut self, queue: &QueueName) -> Result<bool, ClientError> {
        let (broker, range, limit) = (self.client.broker(), self.range, IDS + self.edge.len());
        let found = call!(self.client, connection => broker.letter_ids(connection, queue, &range, limit));
        let new: Vec<_> = found.into_iter().filter(|(id, _)| !self.edge.contains(id)).collect();
        let Some((_, edge_ms)) = new.last().cloned() else { return Ok(false) };
        let limit = if range.latest_first { &mut self.range.until_ms } else { &mut self.range.from_ms };
        if std::mem::replace(limit, edge_ms) != edge_ms {
            self.edge.clear();
        }
        self.edge.extend(new.iter().filter(|(_, at_ms)| *at_ms == edge_ms).map(|(id, _)| id.clone()));
        self.listed.extend(new.into_iter().filter(|(id, _)| self.filter.may_fit(id)));
        Ok(true)
    }

    /// Reads some of those that are listed.
    async fn read(&mut self, queue: &QueueName) -> Result<Vec<DeadTask>, ClientError> {
        let ids: Vec<String> = self.listed.iter().take(PAGE).map(|(id, _)| id.clone()).collect();
        let broker = self.client.broker();
        let stored = call!(self.client, connection => broker.letters(connection, queue, &ids, PAGE_BYTES));
        let count = stored.len().min(self.listed.len());
        let read = self.listed.drain(..count).zip(stored);
        let tasks = read.filter_map(|((id, at_ms), stored)| Some(DeadTask::read(queue, id, at_ms, stored?)));
        Ok(tasks.filter(|task| self.filter.fits(&task.letter)).collect())
    }
}

impl Client {
    /// Walks over the dead letters that fit.
    pub async fn dead_letters(&self, mut filter: DeadFilter) -> Result<DeadLetters, ClientError> {
        let broker = self.broker();
        let began_ms = call!(self, connection => broker.redis_time_ms(connection));
        if filter.queues.is_empty() {
            filter.queues = call!(self, connection => broker.queue_names(connection));
        }
        let mut letters = DeadLetters {
            client: self.clone(),
            queues: filter.queues.iter().cloned().collect(),
            filter,
            began_ms,
            range: LetterRange { from_ms: 0, until_ms: 0, latest_first: false },
            edge: HashSet::new(),
            listed: VecDeque::new(),
        };
        letters.start();
        Ok(letters)
    }

    /// The dead letter of this id, in this queue or in any.
    pub async fn dead_letter(&self, id: &str, queue: Option<&QueueName>) -> Result<Option<DeadTask>, ClientError> {
        let broker = self.broker();
        let queues = match queue {
            Some(queue) => vec![queue.clone()],
            None => call!(self, connection => broker.queue_names(connection)),
        };
        for some in queues.chunks(IDS) {
            let found = call!(self, connection => broker.letter_in(connection, some, id));
            for (queue, stored) in some.iter().zip(found) {
                let Some((at_ms, stored)) = stored else { continue };
                return Ok(Some(DeadTask::read(queue, id.to_owned(), at_ms, stored)));
            }
        }
        Ok(None)
    }

    /// Whether the argument of a dead letter is still there; none if it stands in the letter itself.
    pub async fn dead_argument(&self, dead: &DeadTask) -> Result<Option<bool>, ClientError> {
        let Some((message, Some(Body { blob: Some(blob), .. }))) = dead.message() else { return Ok(None) };
        let broker = self.broker();
        Ok(Some(call!(self, connection => broker.has_blob(connection, message.header.batch, &blob))))
    }

    /// Takes a dead letter back to its queue. Id and history stay; attempts, charges and expiry begin anew.
    pub async fn retry_dead(&self, dead: &DeadTask) -> Result<Revived, ClientError> {
        let Some(task) = dead.task() else { return Ok(Revived::Unreadable) };
        let broker = self.broker();
        let mut calls = 0;
        let revived = call!(self, connection => {
            calls += 1;
            broker.revive(connection, task, &dead.letter)
        });
        // The first call arrived, and its answer was lost.
        Ok(if calls > 1 && revived == Revived::Gone { Revived::Done } else { revived })
    }

    /// Drops dead letters for good. Returns how many were still there as they were seen.
    pub async fn purge_dead(&self, dead: &[DeadTask]) -> Result<u64, ClientError> {
        let broker = self.broker();
        let mut dropped = 0;
        for same in dead.chunk_by(|a, b| a.queue == b.queue).flat_map(|same| same.chunks(IDS)) {
            let queue = &same[0].queue;
            let letters: Vec<_> = same.iter().map(|dead| (dead.id.clone(), dead.letter.at_ms)).collect();
            dropped += call!(self, connection => broker.discard(connection, queue, &letters));
        }
        Ok(dropped)
    }
}
