//! Agents: they reclaim, judge in two steps (and may die between them), promote, tick, sweep; and the people
//! behind the CLI who purge and revive, from what they saw some time ago.

use gristmill_broker::{
    DeathReport, EffectiveOptions, Purged, Reclaimed, Revived, Swept, Tick, verdict, verdict_unread,
};
use gristmill_shared::dead_letter::DeadLetter;
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{
    BatchId, ConsumerId, Failure, KernelOptions, Lane, Message, Outcome, OutcomeKind, QueueName, TaskId, TaskOptions,
    defaults,
};

use crate::clock::GRID_MS;
use crate::consumers::LEASE;
use crate::hold;
use crate::model::{Held, LEASE_MS, Written};
use crate::ops::Reply;
use crate::world::World;

/// What agents and people remember.
#[derive(Default)]
pub struct Agent {
    /// Deaths that a supervisor saw.
    pub reports: Vec<(ConsumerId, DeathReport)>,
    /// Suspects read and not judged yet, with the model's number of each.
    suspects: Vec<(String, Suspect, u64)>,
    /// The beginning of a lane.
    peeked: Option<(QueueName, Lane, Vec<Vec<u8>>)>,
    /// Dead letters read, with the model's number of each.
    letters: Vec<(TaskId, DeadLetter, u64)>,
}

impl Agent {
    pub fn forget_all(&mut self) {
        *self = Self::default();
    }
}

fn times(reply: Reply) -> u8 {
    1 + u8::from(reply != Reply::Arrives)
}

fn pick<T>(list: &[T], pick: u8) -> Option<usize> {
    (!list.is_empty()).then(|| usize::from(pick) % list.len())
}

impl World<'_> {
    pub fn written(&mut self, what: &'static str, written: &Written) {
        self.coverage.event(what, written.recorded);
        self.coverage.event("task orphaned", written.orphaned);
        self.coverage.event("batch finished", written.finished);
    }

    pub async fn report(&mut self, which: u8, knows_queues: bool, reply: Reply) -> Held {
        let Some(at) = pick(&self.agent.reports, which) else { return Ok(()) };
        let (id, report) = self.agent.reports.remove(at);
        for _ in 0..times(reply) {
            self.reclaim(id, &report, knows_queues).await?;
        }
        Ok(())
    }

    /// An agent that thinks somebody's consumer has expired.
    pub async fn accuse(&mut self, slot: u8) -> Held {
        let slot = &self.slots[usize::from(slot) % self.slots.len()];
        let Some(id) = slot.current.as_ref().map(|consumer| consumer.id) else { return Ok(()) };
        self.reclaim(id, &DeathReport::Expired, true).await
    }

    pub async fn reclaim(&mut self, id: ConsumerId, report: &DeathReport, knows_queues: bool) -> Held {
        let expired = matches!(report, DeathReport::Expired);
        let lease = self.model.leases.get(&id).cloned();
        let allowed = lease.as_ref().map(|lease| !expired || self.model.has_expired(lease));
        let queues = if knows_queues { self.queues.clone() } else { Vec::new() };
        let answer = self.broker.reclaim(&mut self.conn, id, report, &queues).await?;
        match (&answer, allowed) {
            (Reclaimed::Gone, None) => self.coverage.reply("reclaim", "GONE"),
            (Reclaimed::NotExpired, Some(false)) => self.coverage.reply("reclaim", "NOT_EXPIRED"),
            (Reclaimed::Done { suspects, returned }, Some(true)) => {
                self.coverage.reply("reclaim", "DONE");
                let held = lease.unwrap_or_default().inflight;
                if !knows_queues && !held.is_empty() {
                    self.coverage.reply("reclaim", "NEED_KEYS");
                }
                self.coverage.event("lease expired unseen", usize::from(expired));
                self.reclaimed(id, report, suspects, *returned)?;
            }
            _ => hold!(false, "reclaim of {id} for {report:?} answered {answer:?}; allowed: {allowed:?}"),
        }
        Ok(())
    }

    fn reclaimed(&mut self, id: ConsumerId, report: &DeathReport, suspects: &[String], returned: u64) -> Held {
        let (mut expected, mut back) = (Vec::new(), 0);
        for (position, message) in self.model.drop_lease(id) {
            let suspected = match report {
                DeathReport::Expired => true,
                DeathReport::Died { position: ran, .. } => position == *ran,
                DeathReport::Idle | DeathReport::Ordered => false,
            };
            if suspected {
                let (field, serial) = (format!("{id}:{position}"), self.model.serial());
                self.model.suspects.insert(field.clone(), (message, serial));
                expected.push(field);
            } else {
                back += u64::from(Message::parse(&message)?.header.count);
            }
        }
        hold!(expected == suspects, "reclaim of {id} made {suspects:?} suspects, not {expected:?}");
        hold!(back == returned, "reclaim of {id} gave {returned} tasks back, not {back}");
        Ok(())
    }

    pub async fn read_suspect(&mut self, which: u8) -> Held {
        let fields: Vec<_> = self.model.suspects.iter().map(|(field, (_, serial))| (field.clone(), *serial)).collect();
        let Some(at) = pick(&fields, which) else { return Ok(()) };
        let (field, serial) = fields[at].clone();
        let stored = self.broker.suspect(&mut self.conn, &field).await?;
        let Some(stored) = stored else {
            hold!(false, "the suspect {field} is gone, and nobody judged it");
            return Ok(());
        };
        self.agent.suspects.push((field, Suspect::parse(&stored)?, serial));
        Ok(())
    }

    pub async fn judge(&mut self, which: u8, readable: bool, jitter: u8, reply: Reply) -> Held {
        if self.agent.suspects.is_empty() {
            self.read_suspect(which).await?;
        }
        let Some(at) = pick(&self.agent.suspects, which) else { return Ok(()) };
        let (field, suspect, serial) = self.agent.suspects[at].clone();
        let ending = if readable {
            let options = EffectiveOptions::of(KernelOptions::default(), &TaskOptions::default());
            let body = suspect.message.read_body()?;
            verdict(&suspect, &body, &options, f64::from(jitter) / 256.0, self.model.now)?
        } else {
            verdict_unread(&suspect)
        };
        for _ in 0..times(reply) {
            // A suspect of the same name that came after a rollback is another one.
            let expected = self.model.suspects.get(&field).is_some_and(|(_, now)| *now == serial);
            let judged = self.broker.judge(&mut self.conn, &field, &suspect, &ending).await?;
            hold!(judged == expected, "judge of {field} answered {judged}, not {expected}");
            self.coverage.reply("judge", if judged { "DONE" } else { "GONE" });
            if judged {
                self.model.suspects.remove(&field);
                self.coverage.event("dead letter", ending.dead.len());
                let written = self.model.end(&ending)?;
                self.written("task recorded by judge", &written);
            }
        }
        // Sometimes the agent remembers, and judges again.
        if reply == Reply::Arrives {
            self.agent.suspects.remove(at);
        }
        Ok(())
    }

    pub async fn tick(&mut self, reclaim: bool) -> Held {
        let found = self.tick_once().await?;
        if reclaim {
            for consumer in found.expired {
                self.reclaim(consumer, &DeathReport::Expired, false).await?;
            }
        }
        for batch in found.batches {
            self.sweep(batch).await?;
        }
        Ok(())
    }

    async fn tick_once(&mut self) -> Held<Tick> {
        let model = &mut self.model;
        let gap = defaults::TICK_GAP.as_millis() as u64;
        if model.last_tick.is_none_or(|last| model.now - last > gap) {
            model.grace_until = model.now + LEASE_MS / 2;
        }
        model.last_tick = Some(model.now);
        let expected: Vec<_> =
            model.leases.iter().filter(|(_, lease)| model.has_expired(lease)).map(|(id, _)| *id).collect();
        let found = self.broker.tick(&mut self.conn, &self.queues, LEASE, 0).await?;
        let mut expired = found.expired.clone();
        expired.sort();
        hold!(expired == expected, "tick found {expired:?} expired, not {expected:?}");
        self.coverage.reply("tick", if expired.is_empty() { "quiet" } else { "expired" });
        Ok(found)
    }

    /// Time passes, and agents tick as they should.
    pub async fn calm(&mut self, ticks: u8) -> Held {
        for _ in 0..ticks {
            self.pass(GRID_MS).await?;
            self.tick(true).await?;
        }
        Ok(())
    }

    /// A day passes, or more than a week: what has a time to live meets its end.
    pub async fn age(&mut self, days: bool) -> Held {
        // Parked lists expire as a whole after the last of their messages; nobody counts what was in them.
        let parked = format!("{}parked:*", self.keys().prefix());
        let parked: Vec<String> = redis::cmd("KEYS").arg(parked).query_async(&mut self.conn).await?;
        if !parked.is_empty() {
            return Ok(());
        }
        let hours = if days { 200 } else { 26 };
        self.pass(hours * 3_600_000).await?;
        self.see_what_expired().await?;
        self.tick(true).await
    }

    /// Learns which keys Redis let expire; none may go before its time.
    pub async fn see_what_expired(&mut self) -> Held {
        let singles: Vec<_> = self.model.batches.iter().filter(|(_, batch)| batch.single).map(|(id, _)| *id).collect();
        for id in singles {
            let exists: bool = redis::cmd("EXISTS").arg(self.keys().batch(id)).query_async(&mut self.conn).await?;
            if !exists {
                let ends = self.model.batches[&id].life_ends();
                hold!(ends <= self.model.now + 1_000, "the batch {id} vanished {} ms early", ends - self.model.now);
                self.batch_gone(id);
            }
        }
        for id in self.model.blobs.clone() {
            let key = self.keys().blob(id, "a0", 0);
            let exists: bool = redis::cmd("EXISTS").arg(key).query_async(&mut self.conn).await?;
            if !exists {
                self.model.blobs.remove(&id);
            }
        }
        Ok(())
    }

    fn batch_gone(&mut self, id: BatchId) {
        self.model.forget_batch(id);
        for producer in self.producers.iter_mut().filter(|producer| producer.id == id) {
            producer.over = true;
        }
    }

    pub async fn promote(&mut self, queue: u8, reply: Reply) -> Held {
        for _ in 0..times(reply) {
            let (queue, now) = (self.queue(queue), self.model.now);
            let moved = self.broker.promote(&mut self.conn, &queue).await? as usize;
            let due = self.model.due.entry(queue.to_string()).or_default();
            due.sort_unstable();
            // Back-off is random, so that some may be due within the clock's own milliseconds.
            let (sure, perhaps) =
                (due.partition_point(|&due| due <= now), due.partition_point(|&due| due <= now + 500));
            hold!((sure..=perhaps).contains(&moved), "promote moved {moved} messages, {sure} to {perhaps} were due");
            due.drain(..moved);
            self.coverage.reply("promote", if moved > 0 { "some" } else { "none" });
        }
        Ok(())
    }

    pub async fn sweep_some(&mut self, batch: u8, reply: Reply) -> Held {
        let id = self.batch_of(batch);
        for _ in 0..times(reply) {
            self.sweep(id).await?;
        }
        Ok(())
    }

    pub async fn sweep(&mut self, id: BatchId) -> Held {
        let now = self.model.now;
        let abandoned_ms = defaults::ABANDONED_AFTER.as_millis() as u64;
        let expected = match self.model.batches.get(&id) {
            None => Swept::Gone,
            Some(batch) if batch.single => Swept::Kept,
            Some(batch) if now >= batch.life_ends() => Swept::Gone,
            Some(batch) if batch.total.is_none() && now >= batch.touched + abandoned_ms => Swept::Abandoned,
            Some(_) => Swept::Kept,
        };
        let swept = self.broker.sweep(&mut self.conn, id).await?;
        hold!(swept == expected, "sweep of {id} answered {swept:?}, not {expected:?}");
        match swept {
            Swept::Kept => self.coverage.reply("sweep", "KEPT"),
            Swept::Slice => self.coverage.reply("sweep", "SLICE"),
            Swept::Abandoned => {
                self.coverage.reply("sweep", "ABANDONED");
                self.model.seal(id);
            }
            Swept::Gone => {
                self.coverage.reply("sweep", "GONE");
                self.model.marks.remove(&id);
                if self.model.batches.contains_key(&id) {
                    self.batch_gone(id);
                }
            }
            // Not expected above: no history spoils a hash.
            Swept::Bad => {}
        }
        Ok(())
    }

    pub async fn peek(&mut self, queue: u8, lane: Lane, messages: u8) -> Held {
        let queue = self.queue(queue);
        let key = self.keys().ready(&queue, lane);
        let peeked: Vec<Vec<u8>> =
            redis::cmd("LRANGE").arg(key).arg(0).arg(messages - 1).query_async(&mut self.conn).await?;
        // Rubbish is no task that could be recorded as cancelled.
        let readable = !peeked.is_empty() && peeked.iter().all(|message| Message::parse(message).is_ok());
        self.agent.peeked = readable.then_some((queue, lane, peeked));
        Ok(())
    }

    pub async fn purge(&mut self, reply: Reply) -> Held {
        if self.agent.peeked.is_none() {
            self.peek(0, Lane::Normal, 2).await?;
        }
        let Some((queue, lane, messages)) = self.agent.peeked.clone() else { return Ok(()) };
        for _ in 0..times(reply) {
            let key = self.keys().ready(&queue, lane);
            let first: Vec<Vec<u8>> =
                redis::cmd("LRANGE").arg(key).arg(0).arg(messages.len() - 1).query_async(&mut self.conn).await?;
            let expected = if first == messages { Purged::Done } else { Purged::Changed };
            let purged = self.broker.purge(&mut self.conn, &queue, lane, &messages).await?;
            hold!(purged == expected, "purge answered {purged:?}, not {expected:?}");
            match purged {
                Purged::Changed => self.coverage.reply("purge", "CHANGED"),
                Purged::Done => {
                    self.coverage.reply("purge", "DONE");
                    let written = self.purged(&messages)?;
                    self.written("task recorded by purge", &written);
                }
            }
        }
        Ok(())
    }

    fn purged(&mut self, messages: &[Vec<u8>]) -> Held<Written> {
        let mut ending = gristmill_broker::Ending::default();
        for message in messages {
            let header = Message::parse(message)?.header;
            let failure = Failure::new("its queue was purged", header.attempt);
            let outcome = Outcome::Bad(OutcomeKind::Cancelled, failure);
            let outcomes = vec![outcome; header.count as usize];
            let (batch, single, first) = (header.batch, header.is_single(), header.first);
            ending.runs.push(gristmill_broker::Run { batch, single, first, outcomes, times: Vec::new() });
        }
        self.model.end(&ending)
    }

    pub async fn read_letter(&mut self, queue: u8, which: u8) -> Held {
        let queue = self.queue(queue);
        let ids: Vec<String> =
            redis::cmd("ZRANGE").arg(self.keys().dead(&queue)).arg(0).arg(-1).query_async(&mut self.conn).await?;
        let tasks: Vec<TaskId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let Some(at) = pick(&tasks, which) else { return Ok(()) };
        let (task, key) = (tasks[at], self.keys().dead_records(&queue));
        let record: Vec<u8> = redis::cmd("HGET").arg(key).arg(task.to_string()).query_async(&mut self.conn).await?;
        let Some(&(serial, _)) = self.model.dead.get(&task.to_string()) else {
            hold!(false, "there is a dead letter of {task}, which did not die");
            return Ok(());
        };
        self.agent.letters.push((task, DeadLetter::parse(&record)?, serial));
        Ok(())
    }

    pub async fn revive(&mut self, which: u8, reply: Reply) -> Held {
        if self.agent.letters.is_empty() {
            self.read_letter(which, which).await?;
        }
        let Some(at) = pick(&self.agent.letters, which) else { return Ok(()) };
        let (task, letter, serial) = self.agent.letters[at].clone();
        let (message, name) = (letter.message()?, task.to_string());
        for _ in 0..times(reply) {
            self.trim_dead().await?;
            // A letter that the task got at a later end is another one.
            let there = self.model.dead.get(&name).is_some_and(|(now, _)| *now == serial);
            let blob = message.read_body()?.blob.is_none() || self.model.blobs.contains(&task.batch);
            let expected = match (there, blob) {
                (false, _) => Revived::Gone,
                (true, false) => Revived::BlobGone,
                (true, true) if self.model.is_cancelled_whole(task.batch) => Revived::Cancelled,
                (true, true) => Revived::Done,
            };
            let revived = self.broker.revive(&mut self.conn, task, &letter).await?;
            hold!(revived == expected, "revive of {task} answered {revived:?}, not {expected:?}");
            match revived {
                Revived::Gone => self.coverage.reply("revive", "GONE"),
                Revived::BlobGone | Revived::SharedGone => self.coverage.reply("revive", "BLOB_GONE"),
                Revived::Cancelled => self.coverage.reply("revive", "CANCELLED"),
                Revived::Unreadable => self.coverage.reply("revive", "unreadable"),
                Revived::Done => {
                    self.coverage.reply("revive", "DONE");
                    let kind = letter.epitaph.kind().unwrap_or(OutcomeKind::Failed);
                    let expires = self.broker.redis_time_ms(&mut self.conn).await?;
                    let expires = expires + defaults::MESSAGE_LIFE.as_millis() as u64;
                    let recreated = self.model.revive(&message, kind, expires);
                    self.coverage.event("batch re-created by revive", usize::from(recreated));
                }
            }
        }
        Ok(())
    }

    pub async fn discard(&mut self, which: u8, reply: Reply) -> Held {
        let Some(at) = pick(&self.agent.letters, which) else { return Ok(()) };
        let (task, letter, serial) = self.agent.letters[at].clone();
        let (queue, name) = (letter.message()?.header.queue, task.to_string());
        for _ in 0..times(reply) {
            self.trim_dead().await?;
            let there = self.model.dead.get(&name).is_some_and(|(now, _)| *now == serial);
            let seen = [(name.clone(), letter.at_ms)];
            let dropped = self.broker.discard(&mut self.conn, &queue, &seen).await?;
            hold!(dropped == u64::from(there), "discard of {task} dropped {dropped}, and it was there: {there}");
            if there {
                self.model.dead.remove(&name);
            }
            self.coverage.reply("discard", if there { "dropped" } else { "none" });
        }
        Ok(())
    }

    /// Letters above the cap of age go, a few at a call; the model learns which.
    pub async fn trim_dead(&mut self) -> Held {
        let oldest = self.model.now.saturating_sub(defaults::DEAD_LETTERS_AGE.as_millis() as u64);
        if self.model.dead.values().all(|(_, at)| *at > oldest) {
            return Ok(());
        }
        let mut there = std::collections::BTreeSet::new();
        for queue in &self.queues {
            let key = self.broker.keys().dead(queue);
            let ids: Vec<String> = redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).query_async(&mut self.conn).await?;
            there.extend(ids);
        }
        self.model.dead.retain(|id, (_, at)| *at > oldest || there.contains(id));
        Ok(())
    }

    pub async fn pause_queue(&mut self, queue: u8, paused: bool) -> Held {
        let queue = self.queue(queue);
        let command = if paused { "SADD" } else { "SREM" };
        if paused {
            self.model.paused.insert(queue.to_string());
        } else {
            self.model.paused.remove(queue.as_str());
        }
        Ok(redis::cmd(command).arg(self.keys().paused()).arg(queue.as_str()).query_async(&mut self.conn).await?)
    }

    pub async fn limit_queue(&mut self, queue: u8, messages: Option<u8>) -> Held {
        let queue = self.queue(queue);
        if !self.is_known(&queue).await? {
            return Ok(());
        }
        let key = self.keys().queue(&queue);
        if let Some(messages) = messages {
            self.model.limits.insert(queue.to_string());
            Ok(redis::cmd("HSET").arg(key).arg("depth_limit").arg(messages).query_async(&mut self.conn).await?)
        } else {
            self.model.limits.remove(queue.as_str());
            Ok(redis::cmd("HDEL").arg(key).arg("depth_limit").query_async(&mut self.conn).await?)
        }
    }

    /// Whether anything was ever enqueued there.
    async fn is_known(&mut self, queue: &QueueName) -> Held<bool> {
        let queues = self.keys().queues();
        Ok(redis::cmd("SISMEMBER").arg(queues).arg(queue.as_str()).query_async(&mut self.conn).await?)
    }

    /// A foreign hand puts something into a lane that is no message.
    pub async fn rubbish(&mut self, queue: u8, lane: Lane) -> Held {
        let rubbish = format!("rubbish {}", self.count());
        let queue = self.queue(queue);
        if self.is_known(&queue).await? {
            let key = self.keys().ready(&queue, lane);
            redis::cmd("RPUSH").arg(key).arg(rubbish).query_async::<()>(&mut self.conn).await?;
        }
        Ok(())
    }
}
