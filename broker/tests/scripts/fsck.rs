//! Every kind of fault is planted, reported, repaired, and gone; and what is right is never called wrong.

use gristmill_broker::fsck::{Finding, Flaw, Fsck, RepairLock, Repaired, Report};
use gristmill_broker::*;
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{BatchId, ConsumerId, KernelName, Lane, Message, Outcome, OutcomeKind};

use crate::fixture::*;
use crate::scenes::{RUBBISH, Scene};

impl Bench {
    pub async fn look(&mut self) -> Report {
        let mut fsck = Fsck::new(&self.broker);
        fsck.check(&mut self.conn).await.unwrap()
    }

    /// What a check finds: flaw, key without its prefix, and what of it.
    pub async fn found(&mut self) -> Vec<(Flaw, String, String)> {
        let report = self.look().await;
        assert_eq!(report.notes, [""; 0]);
        report.findings.iter().map(named).collect()
    }

    /// Repairs until nothing is found any more; returns what was found first.
    pub async fn repair(&mut self) -> Vec<(Flaw, String, String)> {
        let mut fsck = Fsck::new(&self.broker);
        let lock = RepairLock::take(&self.broker, &mut self.conn).await.unwrap().unwrap();
        let first = fsck.check(&mut self.conn).await.unwrap().findings;
        let mut findings = first.clone();
        for _ in 0..6 {
            for finding in &findings {
                let done = fsck.repair(&mut self.conn, &lock, finding).await.unwrap();
                assert!(matches!(done, Repaired::Done | Repaired::Gone), "{finding:?}: {done:?}");
            }
            findings = fsck.check(&mut self.conn).await.unwrap().findings;
            if findings.is_empty() {
                lock.give_back(&mut self.conn).await.unwrap();
                assert!(!self.ask::<bool>(&["EXISTS", "{gm}:fsck"]).await);
                return first.iter().map(named).collect();
            }
        }
        panic!("still wrong: {findings:#?}");
    }

    /// Plants a fault by a command, and expects that finding and nothing else, until it is repaired.
    #[track_caller]
    pub fn expect(found: Vec<(Flaw, String, String)>, flaw: Flaw, key: &str, at: &str) {
        assert_eq!(found, [(flaw, key.to_owned(), at.to_owned())]);
    }
}

pub fn named(finding: &Finding) -> (Flaw, String, String) {
    (finding.flaw, finding.key.trim_start_matches("{gm}:").to_owned(), finding.at.clone().unwrap_or_default())
}

async fn scene() -> (Bench, Scene) {
    let mut b = Bench::start().await;
    let scene = Scene::set(&mut b).await;
    // The scene's rubbish would be found.
    b.ask_bytes(&[b"LREM", b"{gm}:ready:a:low", b"1", RUBBISH]).await;
    assert_eq!(b.found().await, []);
    (b, scene)
}

/// Plants by commands; the fault is found, repaired, and everything adds up again.
async fn planted(plant: &[&[&str]], flaw: Flaw, key: &str, at: &str) -> Bench {
    let (mut b, _) = scene().await;
    for words in plant {
        b.ask::<redis::Value>(words).await;
    }
    Bench::expect(b.repair().await, flaw, key, at);
    b.audit().await;
    b
}

#[tokio::test]
async fn a_scene_with_everything_is_in_order() {
    let (mut b, _) = scene().await;
    let report = b.look().await;
    assert!(report.keys > 30 && report.batches > 8 && report.queues == 1 && report.tasks > 10, "{report:?}");
}

#[tokio::test]
async fn counters_of_queues_are_recounted() {
    for (field, value) in [
        ("ready_tasks", "7"),
        ("running_tasks", "0"),
        ("scheduled_tasks", "-3"),
        ("parked_tasks", "x"),
        ("dead_tasks", "99"),
    ] {
        planted(&[&["HSET", "{gm}:queue:a", field, value]], Flaw::QueueCounter, "queue:a", field).await;
    }
    planted(&[&["HDEL", "{gm}:queue:a", "running_tasks"]], Flaw::QueueCounter, "queue:a", "running_tasks").await;
}

#[tokio::test]
async fn a_parked_list_that_expired_leaves_a_count_that_is_taken_back() {
    let (mut b, _) = scene().await;
    let list = b.keys().parked_kernel(&queue("a"), &KernelName::new("square").unwrap());
    let holder: Vec<Vec<u8>> = b.ask(&["LRANGE", &list, "0", "-1"]).await;
    let batch = Message::parse(&holder[0]).unwrap().header.batch;
    b.ask::<()>(&["DEL", &list]).await;
    // Its batch is held beyond the life of the list, by somebody who touches it.
    b.set(batch, "last_expiry_ms", 1).await;
    b.set(batch, "result_ttl_ms", 1).await;
    Bench::expect(b.repair().await, Flaw::QueueCounter, "queue:a", "parked_tasks");
    assert_eq!(b.counters("a").await[3], 0);
}

#[tokio::test]
async fn keys_that_should_expire_expire() {
    let keys: [&[&str]; 6] = [
        &["RPUSH", "{gm}:doorbell:a", "1"],
        &["SET", "{gm}:blob:01890000-0000-7000-8000-000000000000:a0:0", "x"],
        &["HSET", "{gm}:worker:w", "host", "h"],
        &["HSET", "{gm}:kernels", "square", "1 {}"],
        &["PERSIST", "{gm}:parked:a:square"],
        &["HSET", "{gm}:clock", "last_tick_ms", "1"],
    ];
    for plant in keys {
        let key = plant[1].trim_start_matches("{gm}:").to_owned();
        let begin: &[&str] = if plant[0] == "PERSIST" { &["PING"] } else { &["DEL", plant[1]] };
        let mut b = planted(&[&["DEL", "{gm}:doorbell:a"], begin, plant], Flaw::NoTtl, &key, "").await;
        assert!(b.ask::<i64>(&["PTTL", plant[1]]).await > 0);
    }
    let (mut b, _) = scene().await;
    let one = b.fill_one("a").await.header.batch;
    let key = b.keys().batch(one);
    b.ask::<()>(&["PERSIST", &key]).await;
    Bench::expect(b.repair().await, Flaw::NoTtl, &key[5..], "");
}

#[tokio::test]
async fn orphans_go() {
    let batch = BatchId::new();
    let (results, runs) = (format!("{{gm}}:results:{batch}:0"), format!("{{gm}}:runs:{batch}"));
    planted(&[&["HSET", &results, "0", "x"]], Flaw::Orphan, &results[5..], "").await;
    planted(&[&["RPUSH", &runs, "0 1"]], Flaw::Orphan, &runs[5..], "").await;
    let consumer = format!("{{gm}}:consumer:{}", ConsumerId::new());
    planted(&[&["HSET", &consumer, "op", "1"]], Flaw::Orphan, &consumer[5..], "").await;
    let mark = batch.to_string();
    planted(&[&["HSET", "{gm}:cancelled", &mark, "*"]], Flaw::Orphan, "cancelled", &mark).await;
}

#[tokio::test]
async fn what_is_no_id_goes() {
    for (command, key) in
        [("ZADD", "batches"), ("ZADD", "leases"), ("HSET", "cancelled"), ("SADD", "queues"), ("SADD", "paused")]
    {
        let full = format!("{{gm}}:{key}");
        let words: &[&str] = match command {
            "ZADD" => &["ZADD", &full, "5", "No Id"],
            "HSET" => &["HSET", &full, "No Id", "*"],
            _ => &["SADD", &full, "No Id"],
        };
        planted(&[words], Flaw::BadMember, key, "No Id").await;
    }
}

#[tokio::test]
async fn what_nobody_would_find_again_is_listed() {
    let (mut b, _) = scene().await;
    b.ask::<()>(&["SREM", "{gm}:queues", "a"]).await;
    let found = b.repair().await;
    assert!(found.len() == 1 && found[0].0 == Flaw::UnlistedQueue, "{found:?}");
    let message = b.fill("a", Lane::Normal, &[2]).await.remove(0);
    let id = message.header.batch.to_string();
    b.ask::<()>(&["ZREM", "{gm}:batches", &id]).await;
    Bench::expect(b.repair().await, Flaw::UnlistedBatch, "batches", &id);
    let one = b.fill_one("a").await.header.batch;
    b.broker.cancel(&mut b.conn.clone(), one, None).await.unwrap();
    b.ask::<()>(&["ZREM", "{gm}:batches", &one.to_string()]).await;
    Bench::expect(b.repair().await, Flaw::UnlistedBatch, "batches", &one.to_string());
    b.audit().await;
}

#[tokio::test]
async fn what_is_in_flight_without_a_lease_returns_to_its_lane() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[2, 1]).await;
    let mut consumer = b.join().await;
    b.claim(&mut consumer, &from(&["a"]), LOTS).await;
    let id = consumer.id.to_string();
    b.ask::<()>(&["ZREM", "{gm}:leases", &id]).await;
    Bench::expect(b.repair().await, Flaw::InflightWithoutLease, &format!("inflight:{id}"), "");
    assert_eq!(b.counters("a").await, [3, 0, 0, 0, 0]);
    b.audit().await;
    b.ask::<()>(&["ZADD", "{gm}:leases", "9000000000000", &id]).await;
    Bench::expect(b.repair().await, Flaw::LeaseWithoutConsumer, "leases", &id);
    b.audit().await;
}

#[tokio::test]
async fn a_lease_that_ran_out_long_ago_is_reclaimed_as_a_loss() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[2]).await;
    let mut consumer = b.join().await;
    b.claim(&mut consumer, &from(&["a"]), LOTS).await;
    let alive = b.join().await;
    let then = (b.now().await - 120_000).to_string();
    for id in [consumer.id, alive.id] {
        b.ask::<()>(&["ZADD", "{gm}:leases", &then, &id.to_string()]).await;
    }
    let report = b.look().await;
    let lapsed = |id: ConsumerId| (Flaw::LapsedLease, "leases".to_owned(), id.to_string());
    let mut found: Vec<_> = report.findings.iter().map(named).collect();
    found.sort();
    assert_eq!(found, [lapsed(consumer.id), lapsed(alive.id)]);
    // Whoever comes back in time is left alone.
    assert!(matches!(b.broker.renew(&mut b.conn, alive.id, LEASE * 3).await.unwrap(), Renewed::Yes { .. }));
    let lock = RepairLock::take(&b.broker, &mut b.conn).await.unwrap().unwrap();
    let mut fsck = Fsck::new(&b.broker);
    for finding in &report.findings {
        let dead = named(finding) == lapsed(consumer.id);
        let repaired = fsck.repair(&mut b.conn, &lock, finding).await.unwrap();
        assert_eq!(repaired, if dead { Repaired::Done } else { Repaired::Gone });
    }
    assert_eq!(b.ask::<u64>(&["HLEN", "{gm}:suspects"]).await, 1);
    assert!(b.deadline(alive.id).await.is_some());
    assert_eq!(b.found().await, []);
}

#[tokio::test]
async fn a_lost_task_is_recorded_as_lost_and_its_batch_finishes() {
    let mut b = Bench::start().await;
    let messages = b.fill("a", Lane::Normal, &[2, 3, 1]).await;
    let batch = messages[0].header.batch;
    let mut consumer = b.join().await;
    b.claim(&mut consumer, &from(&["a"]), take(1)).await;
    b.settle(&mut consumer, &ok(&messages[..1])).await;
    // The middle one vanishes.
    let lane = b.keys().ready(&queue("a"), Lane::Normal);
    b.ask_bytes(&[b"LPOP", lane.as_bytes()]).await;
    let found = b.repair().await;
    let lost = (Flaw::LostTask, format!("batch:{batch}"), batch.task(2).to_string());
    assert_eq!(found, [(Flaw::QueueCounter, "queue:a".into(), "ready_tasks".into()), lost]);
    let record = b.record(batch).await.unwrap();
    assert_eq!((record.count(OutcomeKind::Lost), record.state), (3, BatchState::Sealed));
    b.claim(&mut consumer, &from(&["a"]), LOTS).await;
    b.settle(&mut consumer, &ok(&messages[2..])).await;
    assert_eq!(b.record(batch).await.unwrap().state, BatchState::Finished);
    b.audit().await;
    assert_eq!(b.found().await, []);
}

#[tokio::test]
async fn a_lost_task_of_one_is_recorded_too() {
    let mut b = Bench::start().await;
    let batch = b.fill_one("a").await.header.batch;
    b.ask::<()>(&["DEL", "{gm}:ready:a"]).await;
    b.repair().await;
    let record = b.record(batch).await.unwrap();
    assert_eq!((record.count(OutcomeKind::Lost), record.state), (1, BatchState::Finished));
    b.audit().await;
}

#[tokio::test]
async fn a_task_in_two_places_stays_in_one() {
    let mut b = Bench::start().await;
    let messages = b.fill("a", Lane::Normal, &[2, 3]).await;
    let mut consumer = b.join().await;
    b.claim(&mut consumer, &from(&["a"]), take(1)).await;
    // A copy of what is in flight, and one of what is ready.
    for (message, key) in [(&messages[0], "{gm}:ready:a"), (&messages[1], "{gm}:ready:a:low")] {
        b.ask_bytes(&[b"RPUSH", key.as_bytes(), &message.encode().unwrap()]).await;
    }
    let found = b.repair().await;
    let doubled = found.iter().filter(|found| found.0 == Flaw::DoubledTask).count();
    assert_eq!(doubled, 2, "{found:?}");
    b.audit().await;
    assert_eq!(b.counters("a").await, [3, 2, 0, 0, 0]);
    // One that has ended.
    b.settle(&mut consumer, &ok(&messages[..1])).await;
    b.ask_bytes(&[b"ZADD", b"{gm}:scheduled:a", b"7", &messages[0].encode().unwrap()]).await;
    let found = b.repair().await;
    assert!(found.iter().any(|found| found.0 == Flaw::DoubledTask), "{found:?}");
    b.audit().await;
}

#[tokio::test]
async fn what_a_batch_says_of_itself_is_put_right() {
    let mut b = Bench::start().await;
    let messages = b.fill("a", Lane::Normal, &[2, 1]).await;
    let batch = messages[0].header.batch;
    let key = format!("batch:{batch}");
    let mut consumer = b.join().await;
    b.claim(&mut consumer, &from(&["a"]), take(1)).await;
    b.settle(&mut consumer, &ok(&messages[..1])).await;
    b.set(batch, "succeeded", 7).await;
    Bench::expect(b.repair().await, Flaw::BatchCounter, &key, "succeeded");
    b.set(batch, "result_bytes", 7).await;
    Bench::expect(b.repair().await, Flaw::BatchCounter, &key, "result_bytes");
    b.set(batch, "total", 7).await;
    Bench::expect(b.repair().await, Flaw::WrongTotal, &key, "total");
    b.set(batch, "state", "finished").await;
    Bench::expect(b.repair().await, Flaw::FinishedTooEarly, &key, "state");
    b.claim(&mut consumer, &from(&["a"]), LOTS).await;
    b.settle(&mut consumer, &ok(&messages[1..])).await;
    let mut heard = b.listen(batch).await;
    b.set(batch, "state", "sealed").await;
    Bench::expect(b.repair().await, Flaw::UnfinishedBatch, &key, "state");
    assert_eq!(heard.next(), b"f");
    b.audit().await;
    b.set(batch, "state", "odd").await;
    Bench::expect(b.found().await, Flaw::UnreadableBatch, &key, "state");
    b.set(batch, "state", "finished").await;
    b.ask::<()>(&["HSET", &format!("{{gm}}:results:{batch}:0"), "0", "x"]).await;
    Bench::expect(b.found().await, Flaw::UnreadableRun, &format!("results:{batch}:0"), "0");
}

#[tokio::test]
async fn what_cannot_be_read_is_not_listed_to_be_swept() {
    let mut b = Bench::start().await;
    let odd = BatchId::new();
    let key = format!("batch:{odd}");
    b.set(odd, "total", "x").await;
    Bench::expect(b.found().await, Flaw::UnreadableBatch, &key, "state");
    b.set(odd, "state", "odd").await;
    Bench::expect(b.found().await, Flaw::UnreadableBatch, &key, "state");
    b.set(odd, "state", "open").await;
    Bench::expect(b.found().await, Flaw::UnreadableBatch, &key, "tasks");
    for field in ["tasks", "total", "touched_at_ms", "last_expiry_ms"] {
        b.set(odd, field, 0).await;
    }
    Bench::expect(b.found().await, Flaw::UnreadableBatch, &key, "result_ttl_ms");
    b.set(odd, "result_ttl_ms", 1_000).await;
    Bench::expect(b.repair().await, Flaw::UnlistedBatch, "batches", &odd.to_string());
}

#[tokio::test]
async fn dead_letters_have_a_time_and_a_record() {
    let (mut b, _) = scene().await;
    let id: Vec<String> = b.ask(&["ZRANGE", "{gm}:dead:a", "0", "0"]).await;
    let id = id[0].clone();
    b.ask::<()>(&["ZREM", "{gm}:dead:a", &id]).await;
    let found = b.repair().await;
    assert!(found.contains(&(Flaw::RecordWithoutLetter, "dead:a:records".into(), id.clone())), "{found:?}");
    assert_eq!(b.counters("a").await[4], 1);
    b.ask::<()>(&["HSET", "{gm}:dead:a:records", &id, "x"]).await;
    let found = b.repair().await;
    assert_eq!(found, [(Flaw::UnreadableLetter, "dead:a:records".into(), id.clone())]);
    b.ask::<()>(&["ZADD", "{gm}:dead:a", "1", "ghost"]).await;
    b.ask::<()>(&["HINCRBY", "{gm}:queue:a", "dead_tasks", "1"]).await;
    Bench::expect(b.repair().await, Flaw::LetterWithoutRecord, "dead:a", "ghost");
    assert_eq!(b.counters("a").await[4], 0);
    b.audit().await;
}

#[tokio::test]
async fn rubbish_is_buried() {
    let (mut b, _) = scene().await;
    b.ask::<()>(&["RPUSH", "{gm}:ready:a", "rubbish"]).await;
    b.ask::<()>(&["ZADD", "{gm}:scheduled:a", "9", "later rubbish"]).await;
    let found = b.repair().await;
    assert_eq!(found.iter().map(|found| found.0).collect::<Vec<_>>(), [Flaw::UnreadableMessage; 2]);
    b.audit().await;
}

#[tokio::test]
async fn a_suspect_that_nobody_can_read_can_be_judged_again() {
    let (mut b, _) = scene().await;
    let fields: Vec<Vec<u8>> = b.ask(&["HGETALL", "{gm}:suspects"]).await;
    let (field, mut stored) = (String::from_utf8(fields[0].clone()).unwrap(), fields[1].clone());
    stored[12] = 0xc1;
    b.ask_bytes(&[b"HSET", b"{gm}:suspects", field.as_bytes(), &stored]).await;
    Bench::expect(b.repair().await, Flaw::UnreadableSuspect, "suspects", &field);
    let mended = b.broker.suspect(&mut b.conn, &field).await.unwrap().unwrap();
    assert!(Suspect::parse(&mended).is_ok());
    b.ask::<()>(&["HSET", "{gm}:suspects", "no:suspect", "x"]).await;
    Bench::expect(b.repair().await, Flaw::UnreadableSuspect, "suspects", "no:suspect");
    b.audit().await;
}

#[tokio::test]
async fn what_cannot_be_repaired_is_told_and_left_alone() {
    let (mut b, _) = scene().await;
    b.ask::<()>(&["SET", "{gm}:mine", "x"]).await;
    Bench::expect(b.found().await, Flaw::UnknownKey, "mine", "");
    b.ask::<()>(&["DEL", "{gm}:mine"]).await;
    let stray = single(BatchId::new(), "a");
    b.ask_bytes(&[b"RPUSH", b"{gm}:ready:a", &stray.encode().unwrap()]).await;
    b.ask::<()>(&["HINCRBY", "{gm}:queue:a", "ready_tasks", "1"]).await;
    Bench::expect(b.found().await, Flaw::MessageWithoutBatch, "ready:a", &stray.header.batch.to_string());
    b.ask::<()>(&["RPOP", "{gm}:ready:a"]).await;
    b.ask::<()>(&["DEL", "{gm}:dead:a"]).await;
    b.ask::<()>(&["SET", "{gm}:dead:a", "x"]).await;
    let report = b.look().await;
    assert_eq!(
        report.findings.iter().map(named).collect::<Vec<_>>(),
        [(Flaw::WrongType, "dead:a".into(), String::new())]
    );
    assert_eq!(report.notes.len(), 1);
    assert!(!report.findings[0].can_be_repaired());
}

#[tokio::test]
async fn much_is_checked_in_slices_and_a_moving_mass_is_left_alone() {
    let mut b = Bench::start().await;
    for _ in 0..6 {
        b.fill("a", Lane::Normal, &[1; 900]).await;
    }
    b.ask::<()>(&["HINCRBY", "{gm}:queue:a", "ready_tasks", "2"]).await;
    Bench::expect(b.repair().await, Flaw::QueueCounter, "queue:a", "ready_tasks");
    // Somebody who never stands still.
    let (mut conn, stop) = (connect(&b.redis).await, std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let theirs = std::sync::Arc::clone(&stop);
    let mover = tokio::spawn(async move {
        while !theirs.load(std::sync::atomic::Ordering::Relaxed) {
            let _: () = redis::cmd("LMOVE")
                .arg(&["{gm}:ready:a", "{gm}:ready:a", "LEFT", "RIGHT"])
                .query_async(&mut conn)
                .await
                .unwrap();
        }
    });
    let report = b.look().await;
    assert_eq!((report.findings.len(), report.notes.len()), (0, 1), "{report:?}");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    mover.await.unwrap();
}

#[tokio::test]
async fn revived_and_forgotten_tasks_are_not_missed() {
    let (mut b, scene) = scene().await;
    for name in ["revive", "forget", "settle", "cancel"] {
        assert!(scene.call(&mut b, name).await.unwrap(), "{name}");
        assert_eq!(b.found().await, [], "after {name}");
    }
    // A batch that comes back with a revived task.
    let message = b.fill("b", Lane::Normal, &[1]).await.remove(0);
    let mut consumer = b.join().await;
    b.claim(&mut consumer, &from(&["b"]), LOTS).await;
    b.settle(&mut consumer, &failed(&message)).await;
    let batch = message.header.batch;
    b.set(batch, "touched_at_ms", 1).await;
    b.set(batch, "finished_at_ms", 1).await;
    assert_eq!(b.broker.sweep(&mut b.conn, batch).await.unwrap(), Swept::Gone);
    assert_eq!(b.found().await, []);
    let records = b.keys().dead_records(&queue("b"));
    let letter: Vec<u8> = b.ask(&["HGET", &records, &message.task(0).to_string()]).await;
    let letter = gristmill_shared::dead_letter::DeadLetter::parse(&letter).unwrap();
    b.broker.revive(&mut b.conn, message.task(0), &letter).await.unwrap();
    assert_eq!(b.found().await, []);
    b.claim(&mut consumer, &from(&["b"]), LOTS).await;
    let what = settlement(
        std::slice::from_ref(&message),
        Ending { runs: vec![run(&message, vec![Outcome::Value(vec![1])])], ..Ending::default() },
    );
    b.settle(&mut consumer, &what).await;
    assert_eq!(b.found().await, []);
}
