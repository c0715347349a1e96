//! Producers: they send the calls of their batches, more than once and not always in order.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_broker::{Cancelled, Enqueue, Enqueued};
use gristmill_shared::message::{BODY_VERSION, BlobRef, FLAG_BLOB, FLAG_SINGLE};
use gristmill_shared::serde_bytes::ByteBuf;
use gristmill_shared::{BatchId, Body, Header, Message, TaskOptions, defaults};

use crate::hold;
use crate::model::{Batch, Broken, Held, Mark, RESULT_TTL_MS};
use crate::ops::{BatchPlan, Due, Life, Reply, Which};
use crate::world::World;

/// The kernel that all consumers know, and the one that half of them do not.
pub const KERNELS: [&str; 2] = ["plain", "strange"];

const LETTERS_OF_BLOB: &[u8] = b"arguments";

pub struct Producer {
    pub id: BatchId,
    pub plan: BatchPlan,
    /// The number of the call that is sent next, as the producer remembers.
    pub next: usize,
    /// Nothing more is sent: Redis refused for good, or forgot the batch after its life.
    pub over: bool,
    expires_at: u64,
    due_at: Option<u64>,
    uploaded: bool,
}

impl BatchPlan {
    /// What its results may take: those of some ten tasks, or enough.
    fn result_bytes(&self) -> u64 {
        if self.frugal { 120 } else { defaults::RESULT_BYTES_MAX }
    }
}

impl Producer {
    pub fn new(plan: BatchPlan, world: &mut World<'_>) -> Held<Self> {
        let now = world.model.now;
        let expires_at = match plan.life {
            // Half a second off the grid, also after a result ttl.
            Life::Long => now + defaults::MESSAGE_LIFE.as_millis() as u64 + 500,
            Life::Short => now + 40_500,
            Life::Over => now - 500,
        };
        let due_at = (plan.due == Due::Soon).then_some(now + 9_000);
        Ok(Self { id: world.batch_id(), plan, next: 0, over: false, expires_at, due_at, uploaded: false })
    }

    fn blob(&self) -> Option<BlobRef> {
        self.plan.blob.then(|| BlobRef { name: "a0".into(), bytes: LETTERS_OF_BLOB.len() as u64 })
    }

    fn kernel(&self) -> &'static str {
        KERNELS[usize::from(self.plan.strange)]
    }

    /// The messages of call `seq`, the same at each time.
    fn messages(&self, seq: usize, world: &World<'_>) -> Held<Vec<Vec<u8>>> {
        let mut first: u64 = self.plan.calls[..seq].iter().flatten().map(|&count| u64::from(count)).sum();
        let mut messages = Vec::new();
        for &count in &self.plan.calls[seq] {
            let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
            let flags = flag(self.plan.single, FLAG_SINGLE) | flag(self.plan.blob, FLAG_BLOB);
            let header = Header {
                version: BODY_VERSION,
                flags,
                lane: self.plan.lane,
                attempt: 1,
                crashes: u8::from(self.plan.worn) * (defaults::CRASHES_MAX - 1),
                losses: u8::from(self.plan.worn) * (defaults::LOSSES_MAX - 1),
                expires_at_ms: self.expires_at,
                batch: self.id,
                first,
                count,
                blob_offset: if self.plan.blob { first as u32 } else { 0 },
                queue: world.queues[self.plan.queue].clone(),
            };
            let args = if self.plan.blob { 0..0 } else { first..first + u64::from(count) };
            let args = args.map(|n| ByteBuf::from(vec![n as u8])).collect();
            let body = Body {
                kernel: self.kernel().into(),
                args,
                blob: self.blob(),
                options: TaskOptions::default(),
                ..Body::default()
            };
            messages.push(Message::new(header, &body)?.encode()?);
            first += u64::from(count);
        }
        Ok(messages)
    }
}

impl World<'_> {
    fn producer(&self, pick: u8) -> usize {
        usize::from(pick) % self.producers.len()
    }

    pub fn batch_of(&self, pick: u8) -> BatchId {
        self.producers[self.producer(pick)].id
    }

    pub async fn send(&mut self, pick: u8, which: Which, reply: Reply) -> Held {
        let at = self.producer(pick);
        let last = self.producers[at].plan.calls.len() - 1;
        let next = self.producers[at].next;
        let seq = match which {
            // Whoever has sent everything asks again: that is how it learns of a rollback.
            Which::Next => next.min(last),
            Which::Again(pick) => usize::from(pick) % (next.min(last) + 1),
            Which::Ahead => (next + 1).min(last),
        };
        for _ in 0..1 + u8::from(reply != Reply::Arrives) {
            self.send_call(at, seq).await?;
        }
        Ok(())
    }

    /// Sends one call. True if Redis has all calls now.
    pub async fn send_call(&mut self, at: usize, seq: usize) -> Held<bool> {
        if self.producers[at].over {
            return Ok(true);
        }
        self.upload(at).await?;
        let producer = &self.producers[at];
        let (id, plan) = (producer.id, producer.plan.clone());
        let messages = producer.messages(seq, self)?;
        let blobs = producer.blob().map(|blob| self.broker.blob_keys(id, &blob)).unwrap_or_default();
        let call = Enqueue {
            batch: id,
            seq: seq as u64,
            seal: seq + 1 == plan.calls.len(),
            single: plan.single,
            kernel: producer.kernel(),
            queue: &self.queues[plan.queue],
            lane: plan.lane,
            messages: &messages,
            due_at_ms: producer.due_at,
            result_ttl: Duration::from_millis(RESULT_TTL_MS),
            result_bytes: plan.result_bytes(),
            blobs: &blobs,
            once: None,
            fields: &[],
        };
        let expected = self.expected(at, &call);
        let answer = self.broker.enqueue(&mut self.conn, &call).await?;
        // Lanes are not modelled, so a full one comes as it comes.
        let full = matches!(answer, Enqueued::QueueFull { .. }) && self.model.limits.contains(call.queue.as_str());
        let right = answer == expected || (full && matches!(expected, Enqueued::Done { .. }));
        hold!(right, "enqueue {id} seq {seq} answered {answer:?}, not {expected:?}");
        if matches!(answer, Enqueued::Done { .. }) {
            self.enqueued(at, seq);
        }
        let producer = &mut self.producers[at];
        let reply = match answer {
            Enqueued::Done { next_seq } => {
                producer.next = producer.next.max(next_seq as usize);
                "DONE"
            }
            Enqueued::Duplicate { next_seq } => {
                producer.next = producer.next.max(next_seq as usize);
                "DUPLICATE"
            }
            Enqueued::Gap { next_seq } => {
                producer.next = next_seq as usize;
                "GAP"
            }
            Enqueued::Sealed => {
                producer.over = true;
                "SEALED"
            }
            Enqueued::Gone => {
                // A producer whose batch vanished has to submit it anew; this one does so by its first call.
                producer.next = 0;
                "GONE"
            }
            Enqueued::BlobGone { .. } => {
                producer.uploaded = false;
                "BLOB_GONE"
            }
            Enqueued::QueueFull { .. } => "FULL",
            // No producer here takes an idempotency key; the tests of the script do.
            Enqueued::Known { .. } => "KNOWN",
        };
        self.coverage.reply("enqueue", reply);
        Ok(matches!(reply, "SEALED") || self.producers[at].next == plan.calls.len())
    }

    fn expected(&self, at: usize, call: &Enqueue<'_>) -> Enqueued {
        let batch = self.model.batches.get(&call.batch);
        let next_seq = batch.map_or(0, |batch| batch.next_seq);
        match batch {
            None if call.seq > 0 => Enqueued::Gone,
            _ if call.seq < next_seq => Enqueued::Duplicate { next_seq },
            Some(Batch { total: Some(_), .. }) => Enqueued::Sealed,
            _ if call.seq > next_seq => Enqueued::Gap { next_seq },
            _ if self.producers[at].plan.blob && !self.model.blobs.contains(&call.batch) => {
                Enqueued::BlobGone { key: call.blobs[0].clone() }
            }
            _ => Enqueued::Done { next_seq: next_seq + 1 },
        }
    }

    fn enqueued(&mut self, at: usize, seq: usize) {
        let producer = &self.producers[at];
        let (id, now) = (producer.id, self.model.now);
        let calls = &producer.plan.calls;
        if let Some(due_at) = producer.due_at.filter(|&due_at| due_at > now) {
            let queue = self.queues[producer.plan.queue].to_string();
            self.model.due.entry(queue).or_default().extend(calls[seq].iter().map(|_| due_at));
        }
        let batch = self.model.batches.entry(id).or_default();
        batch.single = producer.plan.single;
        batch.budget = (!batch.single).then(|| producer.plan.result_bytes());
        batch.next_seq = seq as u64 + 1;
        batch.tasks += calls[seq].iter().map(|&count| u64::from(count)).sum::<u64>();
        batch.members = (0..batch.tasks).collect();
        batch.touched = now;
        batch.last_expiry = batch.last_expiry.max(producer.expires_at);
        if seq + 1 == calls.len() {
            self.model.seal(id);
        }
    }

    async fn upload(&mut self, at: usize) -> Held {
        let producer = &mut self.producers[at];
        if !producer.plan.blob || producer.uploaded {
            return Ok(());
        }
        producer.uploaded = true;
        let ttl = defaults::MESSAGE_LIFE + Duration::from_millis(RESULT_TTL_MS) + defaults::BLOB_MARGIN;
        let id = producer.id;
        self.broker.put_blob(&mut self.conn, id, "a0", LETTERS_OF_BLOB, ttl).await?;
        self.model.blobs.insert(id);
        Ok(())
    }

    /// The arguments of a batch disappear, as they do when their time is over.
    pub async fn drop_blob(&mut self, pick: u8) -> Held {
        let id = self.batch_of(pick);
        self.model.blobs.remove(&id);
        Ok(redis::cmd("DEL").arg(self.keys().blob(id, "a0", 0)).query_async(&mut self.conn).await?)
    }

    pub async fn touch(&mut self, pick: u8) -> Held {
        let id = self.batch_of(pick);
        self.broker.touch(&mut self.conn, &[id]).await?;
        self.coverage.reply("touch", "DONE");
        let now = self.model.now;
        if let Some(batch) = self.model.batches.get_mut(&id) {
            batch.touched = now;
        }
        Ok(())
    }

    pub async fn cancel(&mut self, pick: u8, tasks: Option<&[u8]>, reply: Reply) -> Held {
        let id = self.batch_of(pick);
        let tasks: Option<Vec<u64>> = tasks.map(|tasks| tasks.iter().map(|&task| u64::from(task)).collect());
        for _ in 0..1 + u8::from(reply != Reply::Arrives) {
            let expected = self.expected_cancel(id, tasks.as_deref());
            let answer = self.broker.cancel(&mut self.conn, id, tasks.as_deref()).await?;
            hold!(answer == expected, "cancel of {tasks:?} of {id} answered {answer:?}, not {expected:?}");
            let reply = match answer {
                Cancelled::Done => {
                    self.cancelled(id, tasks.as_deref());
                    "DONE"
                }
                Cancelled::AlreadyFinished => "FINISHED",
                Cancelled::NoSuchBatch => "NO_BATCH",
                Cancelled::NoSuchTask(_) => "NO_TASK",
                Cancelled::TooMany => return Err(Broken("cancel answered TOO_MANY for a few tasks".into())),
            };
            self.coverage.reply("cancel", reply);
        }
        Ok(())
    }

    fn expected_cancel(&self, id: BatchId, tasks: Option<&[u64]>) -> Cancelled {
        let Some(batch) = self.model.batches.get(&id) else { return Cancelled::NoSuchBatch };
        if batch.finished_at.is_some() && batch.has_all_outcomes() {
            return Cancelled::AlreadyFinished;
        }
        let outside = tasks.unwrap_or_default().iter().find(|&&task| task >= batch.tasks);
        outside.map_or(Cancelled::Done, |&task| Cancelled::NoSuchTask(task))
    }

    fn cancelled(&mut self, id: BatchId, tasks: Option<&[u64]>) {
        let Some(batch) = self.model.batches.get(&id) else { return };
        let (single, open) = (batch.single, batch.total.is_none());
        let marks: &mut BTreeMap<_, _> = &mut self.model.marks;
        match (tasks, marks.entry(id).or_insert_with(|| Mark::Tasks(Vec::new()))) {
            (Some(tasks), Mark::Tasks(marked) | Mark::OverBudget(_, marked)) if !single => {
                for task in tasks {
                    if !marked.contains(task) {
                        marked.push(*task);
                    }
                }
            }
            (Some(_), Mark::All) if !single => {}
            _ => {
                marks.insert(id, Mark::All);
                if open {
                    self.model.seal(id);
                }
            }
        }
    }

    /// A reader that has some results lets Redis drop them.
    pub async fn forget(&mut self, pick: u8, which: u8) -> Held {
        let id = self.batch_of(pick);
        let Some(batch) = self.model.batches.get_mut(&id) else { return Ok(()) };
        let firsts: Vec<u64> = batch.fields.keys().copied().skip(usize::from(which % 4)).take(2).collect();
        if batch.single || firsts.is_empty() {
            return Ok(());
        }
        for first in &firsts {
            batch.fields.remove(first);
            batch.bytes -= batch.sizes.remove(first).unwrap_or_default();
        }
        self.forgotten.insert(id);
        self.broker.forget(&mut self.conn, id, &firsts, &[]).await?;
        self.coverage.reply("forget", "DONE");
        Ok(())
    }
}
