//! Repairs: each is one atomic step, or one that agents would finish if we died in the middle.

use std::time::Duration;

use gristmill_shared::message::{BODY_VERSION, FLAG_SINGLE};
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{
    BatchId, Body, Certificate, ConsumerId, DeathCause, Failure, Header, Lane, Message, Outcome, OutcomeKind,
    QueueName, codec, defaults,
};
use redis::Value;
use redis::aio::ConnectionLike;

use super::check::{Check, all_hold, watched_hold};
use super::finding::Action;
use super::{Finding, Fsck, Report, slices};
use crate::Broker;
use crate::ending::{Ending, Run};
use crate::error::BrokerError;
use crate::reclaim::{DeathReport, Reclaimed};

/// Tries to find a moment in which nobody writes to the keys that a repair depends on.
const TRIES: usize = 50;
/// Longer than a check of very much takes.
const LOCK: Duration = Duration::from_secs(600);
/// Grace after a first tick lasts half a lease.
const GRACE_WITHIN: Duration = Duration::from_secs(30);

/// What became of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repaired {
    /// It is done.
    Done,
    /// It was no longer wrong.
    Gone,
    /// It moves too much; later.
    Busy,
    /// There is no safe repair.
    Impossible,
    /// The lock is another's by now: nothing may be repaired any more.
    LockLost,
}

/// The right to repair: counters are repaired by what they are off, which two at a time would do twice.
pub struct RepairLock {
    key: String,
    token: String,
}

impl RepairLock {
    /// Takes it. None: another repair is at work, or was within the last ten minutes and died.
    pub async fn take<C: ConnectionLike>(broker: &Broker, conn: &mut C) -> Result<Option<Self>, BrokerError> {
        let (key, token) = (broker.keys().fsck(), ConsumerId::new().to_string());
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(&token).arg("NX").arg("PX").arg(LOCK.as_millis() as u64);
        let taken: Option<String> = set.query_async(conn).await?;
        Ok(taken.map(|_| Self { key, token }))
    }

    /// Gives it back.
    pub async fn give_back<C: ConnectionLike>(self, conn: &mut C) -> Result<(), BrokerError> {
        let delete = super::finding::words(["DEL", &self.key]);
        commands(conn, &[self.check()], &[delete]).await.map(drop)
    }

    /// Holds it for longer, if it is still ours.
    async fn prolong<C: ConnectionLike>(&self, conn: &mut C) -> Result<Repaired, BrokerError> {
        let expire = super::finding::words(["PEXPIRE", &self.key, &LOCK.as_millis().to_string()]);
        commands(conn, &[self.check()], &[expire]).await
    }

    fn check(&self) -> Check {
        Check::Holds(self.key.clone(), self.token.clone())
    }
}

impl Fsck {
    /// Checks again with the lock in hand, and leaves of `report` what is still wrong: another repair may have
    /// finished between that check and the lock, and nothing is to be repaired twice.
    pub async fn check_again<C: ConnectionLike>(
        &mut self,
        conn: &mut C,
        lock: &RepairLock,
        report: &Report,
    ) -> Result<Report, BrokerError> {
        lock.prolong(conn).await?;
        let mut again = self.check(conn).await?;
        again.findings.retain(|finding| report.findings.iter().any(|earlier| earlier.is_same(finding)));
        Ok(again)
    }

    /// Repairs what was found, if it is still wrong. It must have been found, or [found again](Self::check_again), with
    /// the lock in hand.
    pub async fn repair<C: ConnectionLike>(
        &mut self,
        conn: &mut C,
        lock: &RepairLock,
        finding: &Finding,
    ) -> Result<Repaired, BrokerError> {
        match lock.prolong(conn).await? {
            Repaired::Done => {}
            Repaired::Gone => return Ok(Repaired::LockLost),
            other => return Ok(other),
        }
        let repaired = self.act(conn, lock, &finding.remedy.action).await?;
        // Evidence that no longer holds may be the lock itself.
        let lost = repaired == Repaired::Gone && !all_hold(conn, &[lock.check()]).await?;
        Ok(if lost { Repaired::LockLost } else { repaired })
    }

    async fn act<C: ConnectionLike>(
        &self,
        conn: &mut C,
        lock: &RepairLock,
        action: &Action,
    ) -> Result<Repaired, BrokerError> {
        let broker = self.broker.clone();
        match action {
            Action::Nothing => Ok(Repaired::Impossible),
            Action::Commands { checks, commands: run } => {
                let checks: Vec<_> = checks.iter().cloned().chain([lock.check()]).collect();
                commands(conn, &checks, run).await
            }
            Action::Reclaim(id) => reclaim(&broker, conn, *id).await,
            Action::ReclaimLapsed(id) => reclaim_lapsed(&broker, conn, *id).await,
            Action::RecordLost { batch, single, queue, indices } => {
                let Ok(queue) = QueueName::new(queue.as_str()) else { return Ok(Repaired::Impossible) };
                let lost = Lost { broker: &broker, lock, batch: *batch, single: *single, queue };
                lost.record(conn, indices).await
            }
            Action::Discard { key, zset, queue, counter, message } => {
                broker.weed(conn, key, *zset, queue, counter, message).await
            }
            Action::DiscardCopy { key, zset, queue, counter, batch, first, count } => {
                let is_it = |header: &Header| (header.batch, header.first, header.count) == (*batch, *first, *count);
                let copy = slices::find(conn, key, *zset, is_it).await?;
                // What a revive brought back meanwhile is no copy. What comes back later has other bytes.
                let hash = broker.keys().batch(*batch);
                let revived = !all_hold(conn, &[Check::NoField(hash, b"revived_at_ms".to_vec())]).await?;
                match copy.filter(|_| !revived) {
                    Some(message) => broker.weed(conn, key, *zset, queue, counter, &message).await,
                    None => Ok(Repaired::Gone),
                }
            }
        }
    }
}

/// Runs commands in one step, if the checks hold in that step.
async fn commands<C: ConnectionLike>(
    conn: &mut C,
    checks: &[Check],
    commands: &[Vec<Vec<u8>>],
) -> Result<Repaired, BrokerError> {
    for _ in 0..TRIES {
        if !watched_hold(conn, checks).await? {
            let _: () = redis::cmd("UNWATCH").query_async(conn).await?;
            return Ok(Repaired::Gone);
        }
        let mut pipe = redis::pipe();
        pipe.atomic();
        for words in commands {
            let mut words = words.iter();
            // A command has at least its name.
            let name = words.next().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
            let command = pipe.cmd(&name);
            words.for_each(|word| _ = command.arg(word));
        }
        if pipe.query_async::<Option<Vec<Value>>>(conn).await?.is_some() {
            return Ok(Repaired::Done);
        }
    }
    Ok(Repaired::Busy)
}

/// A consumer that is in disorder gives everything back. Where it has no lease it gets one for that: should we
/// die now, the lease runs out and agents reclaim it.
async fn reclaim<C: ConnectionLike>(broker: &Broker, conn: &mut C, id: ConsumerId) -> Result<Repaired, BrokerError> {
    let now_ms = broker.redis_time_ms(conn).await?;
    let deadline = now_ms + defaults::LEASE.as_millis() as u64;
    let mut add = redis::cmd("ZADD");
    add.arg(broker.keys().leases()).arg("NX").arg(deadline).arg(id.to_string());
    let _: () = add.query_async(conn).await?;
    // What is unreadable is buried in the first queue.
    let queues = broker.queue_names(conn).await?;
    let first = &queues[..queues.len().min(1)];
    match broker.reclaim(conn, id, &DeathReport::Ordered, first).await? {
        Reclaimed::Done { .. } => Ok(Repaired::Done),
        Reclaimed::Gone | Reclaimed::NotExpired => Ok(Repaired::Gone),
    }
}

/// As agents do: only the script decides whether the lease has run out, and not before everybody had time to renew.
async fn reclaim_lapsed<C: ConnectionLike>(
    broker: &Broker,
    conn: &mut C,
    id: ConsumerId,
) -> Result<Repaired, BrokerError> {
    let begun = tokio::time::Instant::now();
    let queues = broker.queue_names(conn).await?;
    while begun.elapsed() < GRACE_WITHIN {
        let tick = broker.tick(conn, &[], defaults::LEASE, 0).await?;
        match broker.reclaim(conn, id, &DeathReport::Expired, &queues).await? {
            Reclaimed::Done { .. } => return Ok(Repaired::Done),
            Reclaimed::Gone => return Ok(Repaired::Gone),
            Reclaimed::NotExpired if tick.now_ms > tick.grace_until_ms => return Ok(Repaired::Gone),
            Reclaimed::NotExpired => tokio::time::sleep(defaults::TICK / 2).await,
        }
    }
    Ok(Repaired::Busy)
}

/// Tasks without a message get an outcome the way all tasks do whose machine is gone: as suspects that are judged.
struct Lost<'a> {
    broker: &'a Broker,
    lock: &'a RepairLock,
    batch: BatchId,
    single: bool,
    queue: QueueName,
}

impl Lost<'_> {
    async fn record<C: ConnectionLike>(&self, conn: &mut C, indices: &[(u64, u64)]) -> Result<Repaired, BrokerError> {
        for &(start, end) in indices {
            let step = u64::from(defaults::MESSAGE_TASKS_MAX);
            let mut first = start;
            while first < end {
                let count = (end - first).min(step);
                let done = self.record_run(conn, first, count as u32).await?;
                if done != Repaired::Done {
                    return Ok(done);
                }
                first += count;
            }
        }
        Ok(Repaired::Done)
    }

    async fn record_run<C: ConnectionLike>(
        &self,
        conn: &mut C,
        first: u64,
        count: u32,
    ) -> Result<Repaired, BrokerError> {
        let keys = self.broker.keys();
        let consumer = ConsumerId::new().to_string();
        let (field, at_ms) = (format!("{consumer}:0"), self.broker.redis_time_ms(conn).await?);
        let certificate = Certificate::unseen(DeathCause::Loss, consumer, "its message was missing; fsck noticed");
        let suspect = Suspect { at_ms, certificate, message: self.message(first, count, at_ms)? };
        let place = vec![b"HSET".to_vec(), keys.suspects().into_bytes(), field.clone().into_bytes(), stored(&suspect)?];
        let tasks = count.to_string();
        let run = super::finding::words(["HINCRBY", &keys.queue(&self.queue), "running_tasks", &tasks]);
        let checks = [Check::Present(keys.batch(self.batch)), self.lock.check()];
        let placed = commands(conn, &checks, &[place, run]).await?;
        if placed != Repaired::Done {
            return Ok(placed);
        }
        let failure = Failure::new("its message was missing in Redis; recorded by fsck", 1);
        let outcomes = vec![Outcome::Bad(OutcomeKind::Lost, failure); count as usize];
        let run = Run { batch: self.batch, single: self.single, first, outcomes, times: Vec::new() };
        let ending = Ending { runs: vec![run], ..Ending::default() };
        let judged = self.broker.judge(conn, &field, &suspect, &ending).await?;
        Ok(if judged { Repaired::Done } else { Repaired::Gone })
    }

    /// A message of those tasks, with charges that make it final for any other judge as well.
    fn message(&self, first: u64, count: u32, now_ms: u64) -> Result<Message, BrokerError> {
        let header = Header {
            version: BODY_VERSION,
            flags: if self.single { FLAG_SINGLE } else { 0 },
            lane: Lane::Normal,
            attempt: 1,
            crashes: 0,
            losses: defaults::LOSSES_MAX,
            expires_at_ms: now_ms,
            batch: self.batch,
            first,
            count,
            blob_offset: 0,
            queue: self.queue.clone(),
        };
        let args = vec![codec::encode(&())?.into(); count as usize];
        let body = Body { kernel: "unknown".to_owned(), args, ..Body::default() };
        Ok(Message::new(header, &body)?)
    }
}

fn stored(suspect: &Suspect) -> Result<Vec<u8>, BrokerError> {
    let certificate = codec::encode(&suspect.certificate)?;
    let mut bytes = suspect.at_ms.to_be_bytes().to_vec();
    bytes.extend_from_slice(&(certificate.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&certificate);
    bytes.extend_from_slice(&suspect.message.encode()?);
    Ok(bytes)
}
