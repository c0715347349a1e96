//! One state in which every script has something to do, and one call of each.

use gristmill_broker::*;
use gristmill_shared::dead_letter::DeadLetter;
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{BatchId, Certificate, ConsumerId, DeathCause, KernelName, Lane, Message, OutcomeKind};

use crate::fixture::*;

pub const NAMES: [&str; 21] = [
    "enqueue", "join", "leave", "claim", "settle", "release", "renew", "touch", "reclaim", "judge", "promote", "tick",
    "sweep", "forget", "purge", "cancel", "revive", "discard", "manage", "weed", "hasten",
];

/// Stands behind the messages of the low lane.
pub const RUBBISH: &[u8] = b"no message";

pub struct Scene {
    /// Holds a message of six tasks and one of one; the lane has one more.
    settler: (Consumer, Vec<Message>),
    /// Holds a message of four tasks and one of one.
    releaser: (Consumer, Vec<Message>),
    /// Is dead, and holds two messages.
    dead: Consumer,
    idle: Consumer,
    newcomer: ConsumerId,
    suspect: (String, Suspect),
    letter: (Message, DeadLetter),
    /// Everything of it may go.
    old: BatchId,
    purged: Vec<Message>,
    /// The second call of an open batch, with a blob.
    next: (Message, Vec<String>),
    parked: ParkedList,
    /// Is cancelled, and scheduled for later.
    later: BatchId,
}

impl Scene {
    pub async fn set(b: &mut Bench) -> Self {
        let settler = holder(b, &[6, 1]).await;
        let releaser = holder(b, &[4, 1]).await;
        let (dead, _) = holder(b, &[3, 1]).await;
        let (suspected, _) = holder(b, &[1]).await;
        let why = died(0);
        b.broker.reclaim(&mut b.conn, suspected.id, &why, &[]).await.unwrap();
        let field = format!("{}:0", suspected.id);
        let stored = b.broker.suspect(&mut b.conn, &field).await.unwrap().unwrap();
        let (mut idle, buried) = holder(b, &[1]).await;
        b.settle(&mut idle, &failed(&buried[0])).await;
        let records = b.keys().dead_records(&queue("a"));
        let letter: Vec<u8> = b.ask(&["HGET", &records, &buried[0].task(0).to_string()]).await;
        let (mut other, ended) = holder(b, &[1]).await;
        b.settle(&mut other, &ok(&ended)).await;
        let old = ended[0].header.batch;
        for field in ["touched_at_ms", "finished_at_ms"] {
            b.set(old, field, 1).await;
        }
        let purged = b.fill("a", Lane::Low, &[2, 1]).await;
        b.ask::<()>(&["RPUSH", &b.keys().ready(&queue("a"), Lane::Low), "no message"]).await;
        Self {
            settler,
            releaser,
            dead,
            idle,
            newcomer: ConsumerId::new(),
            suspect: (field, Suspect::parse(&stored).unwrap()),
            letter: (buried[0].clone(), DeadLetter::parse(&letter).unwrap()),
            old,
            purged,
            next: open_batch(b).await,
            parked: schedule_and_park(b).await,
            later: schedule_and_cancel(b).await,
        }
    }

    /// One call of the script `name`. True: it did its work.
    pub async fn call(&self, b: &mut Bench, name: &str) -> Result<bool, BrokerError> {
        let (broker, c) = (b.broker.clone(), &mut b.conn);
        let a = [queue("a")];
        let sources =
            Sources { queues: a.to_vec(), parked: vec![Parked { queue: queue("a"), list: self.parked.clone() }] };
        let next = |consumer: &Consumer| Consumer { op: consumer.op + 1, ..*consumer }.call();
        Ok(match name {
            "enqueue" => {
                let (message, blobs) = &self.next;
                let encoded = [message.encode()?];
                let call = Enqueue { seq: 1, blobs, ..first_call(message, &encoded) };
                matches!(broker.enqueue(c, &call).await?, Enqueued::Done { .. })
            }
            "join" => broker.join(c, self.newcomer, "w", LEASE).await?,
            "leave" => broker.leave(c, self.idle.id).await? == Left::Done,
            "renew" => matches!(broker.renew(c, self.idle.id, LEASE).await?, Renewed::Yes { .. }),
            "claim" => {
                let claim = broker.claim(c, &next(&self.idle), &sources, LOTS).await?;
                matches!(claim, Claim::Done(claimed) if claimed.messages.len() == 4)
            }
            "settle" => {
                let (consumer, messages) = &self.settler;
                let what = self.every_end(&messages[0]);
                let claim = broker.settle(c, &next(consumer), &what, &sources, take(1)).await?;
                matches!(claim, Claim::Done(claimed) if claimed.messages.len() == 1)
            }
            "release" => {
                let (consumer, messages) = &self.releaser;
                let started = Some((0, part(&messages[0], 0, 1)));
                let rests = vec![part(&messages[0], 1, 4)];
                let what = Release { from: 1, started, rests, queues: a.to_vec() };
                matches!(broker.release(c, &next(consumer), &what).await?, Claim::Done(_))
            }
            "touch" => broker.touch(c, &[self.next.0.header.batch]).await.map(|()| true)?,
            "reclaim" => matches!(broker.reclaim(c, self.dead.id, &died(0), &a).await?, Reclaimed::Done { .. }),
            "judge" => broker.judge(c, &self.suspect.0, &self.suspect.1, &verdict_unread(&self.suspect.1)).await?,
            "promote" => broker.promote(c, &a[0]).await? == 1,
            "tick" => broker.tick(c, &a, LEASE, 0).await?.batches.is_empty(),
            "sweep" => broker.sweep(c, self.old).await? == Swept::Gone,
            "forget" => broker.forget(c, self.old, &[0], &[]).await.map(|_| true)?,
            "purge" => {
                let encoded: Vec<_> = self.purged.iter().map(|m| m.encode().unwrap()).collect();
                broker.purge(c, &a[0], Lane::Low, &encoded).await? == Purged::Done
            }
            "cancel" => broker.cancel(c, self.next.0.header.batch, None).await? == Cancelled::Done,
            "hasten" => broker.hasten(c, self.later).await? == 1,
            "revive" => broker.revive(c, self.letter.0.task(0), &self.letter.1).await? == Revived::Done,
            "weed" => {
                let low = broker.keys().ready(&a[0], Lane::Low);
                broker.weed(c, &low, false, &a[0], "ready_tasks", RUBBISH).await? == fsck::Repaired::Done
            }
            "manage" => broker.manage(c, &a[0], Wish::Resume, false).await? == Managed::Done,
            "discard" => {
                let (message, letter) = &self.letter;
                broker.discard(c, &a[0], &[(message.task(0).to_string(), letter.at_ms)]).await? == 1
            }
            other => panic!("{other} has no scene"),
        })
    }

    fn every_end(&self, message: &Message) -> Settlement {
        let piece = |i: u32| part(message, i, i + 1);
        let runs = vec![
            run(&piece(0), vec![gristmill_shared::Outcome::Value(vec![1])]),
            run(&piece(1), vec![bad(OutcomeKind::Failed)]),
        ];
        let to = |i, to| back(&piece(i), to);
        let replacements = vec![
            to(2, Destination::Front),
            to(3, Destination::Back),
            to(4, Destination::Scheduled { due_at_ms: LATE }),
            to(5, Destination::Parked(self.parked.clone())),
        ];
        let dead = vec![letter(&piece(1), OutcomeKind::Failed)];
        settlement(std::slice::from_ref(message), Ending { runs, replacements, dead })
    }
}

fn died(position: u64) -> DeathReport {
    let certificate = Certificate { item: Some(0), ..Certificate::unseen(DeathCause::Crash, "c", "SIGSEGV") };
    DeathReport::Died { position, certificate }
}

/// A consumer that holds all messages of a new batch.
async fn holder(b: &mut Bench, counts: &[u32]) -> (Consumer, Vec<Message>) {
    let messages = b.fill("a", Lane::High, counts).await;
    let mut consumer = b.join().await;
    b.claim(&mut consumer, &from(&["a"]), take(counts.len())).await;
    (consumer, messages)
}

async fn open_batch(b: &mut Bench) -> (Message, Vec<String>) {
    let first = message(BatchId::new(), "a", Lane::Normal, 0, 1);
    b.put(std::slice::from_ref(&first), false).await;
    let batch = first.header.batch;
    let blob = b.broker.put_blob(&mut b.conn, batch, "a1", b"abc", LEASE).await.unwrap();
    (message(batch, "a", Lane::Normal, 1, 2), b.broker.blob_keys(batch, &blob))
}

async fn schedule_and_cancel(b: &mut Bench) -> BatchId {
    let later = message(BatchId::new(), "a", Lane::Normal, 0, 2);
    let encoded = [later.encode().unwrap()];
    let due_at_ms = Some(b.now().await + 3_600_000);
    b.try_enqueue(&Enqueue { due_at_ms, ..first_call(&later, &encoded) }).await.unwrap();
    // Nothing but the mark: other scenes begin without a clock.
    let cancelled = b.keys().cancelled();
    b.ask::<()>(&["HSET", &cancelled, &later.header.batch.to_string(), "*"]).await;
    later.header.batch
}

/// One message is due, another waits in a parked list.
async fn schedule_and_park(b: &mut Bench) -> ParkedList {
    let list = ParkedList::Kernel(KernelName::new("square").unwrap());
    let (mut consumer, m) = holder(b, &[1, 1]).await;
    let replacements =
        vec![back(&m[0], Destination::Scheduled { due_at_ms: 1 }), back(&m[1], Destination::Parked(list.clone()))];
    b.settle(&mut consumer, &settlement(&m, Ending { replacements, ..Ending::default() })).await;
    list
}
