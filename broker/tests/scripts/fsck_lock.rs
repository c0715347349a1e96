//! Repairs are made under a lock, on what is still wrong once it is held.

use gristmill_broker::fsck::{Flaw, Fsck, RepairLock, Repaired};
use gristmill_shared::{Lane, OutcomeKind};

use crate::fixture::*;
use crate::fsck::named;

#[tokio::test]
async fn two_repairs_at_a_time_are_one_too_many() {
    let mut b = Bench::start().await;
    let lock = RepairLock::take(&b.broker, &mut b.conn).await.unwrap().unwrap();
    assert!(RepairLock::take(&b.broker, &mut b.conn).await.unwrap().is_none());
    // Whoever has lost the lock changes nothing any more.
    b.fill("a", Lane::Normal, &[1]).await;
    b.ask::<()>(&["HSET", "{gm}:queue:a", "ready_tasks", "5"]).await;
    let report = b.look().await;
    b.ask::<()>(&["SET", "{gm}:fsck", "another", "PX", "60000"]).await;
    let mut fsck = Fsck::new(&b.broker);
    assert_eq!(fsck.repair(&mut b.conn, &lock, &report.findings[0]).await.unwrap(), Repaired::LockLost);
    assert_eq!(b.counters("a").await[0], 5);
    assert!(b.ask::<u64>(&["PTTL", "{gm}:fsck"]).await <= 60_000, "nor holds it for the other");
}

#[tokio::test]
async fn without_the_lock_nothing_is_repaired_whatever_it_is() {
    let mut b = Bench::start().await;
    let messages = b.fill("a", Lane::Normal, &[2, 1]).await;
    let mut consumer = b.join().await;
    b.claim(&mut consumer, &from(&["a"]), take(1)).await;
    // One to be discarded, a copy, and a consumer to be reclaimed.
    b.ask::<()>(&["RPUSH", "{gm}:ready:a", "rubbish"]).await;
    b.ask_bytes(&[b"RPUSH", b"{gm}:ready:a:low", &messages[1].encode().unwrap()]).await;
    b.ask::<()>(&["ZREM", "{gm}:leases", &consumer.id.to_string()]).await;
    let report = b.look().await;
    let flaws: Vec<_> = report.findings.iter().map(|finding| finding.flaw).collect();
    for flaw in [Flaw::UnreadableMessage, Flaw::DoubledTask, Flaw::InflightWithoutLease] {
        assert!(flaws.contains(&flaw), "{flaws:?}");
    }
    let lock = RepairLock::take(&b.broker, &mut b.conn).await.unwrap().unwrap();
    b.ask::<()>(&["DEL", "{gm}:fsck"]).await;
    let before = b.snapshot().await;
    let mut fsck = Fsck::new(&b.broker);
    for finding in report.findings.iter().filter(|finding| finding.can_be_repaired()) {
        assert_eq!(fsck.repair(&mut b.conn, &lock, finding).await.unwrap(), Repaired::LockLost, "{finding:?}");
    }
    assert_eq!(b.snapshot().await, before);
}

#[tokio::test]
async fn what_another_repair_has_done_meanwhile_is_not_done_again() {
    let mut b = Bench::start().await;
    let messages = b.fill("a", Lane::Normal, &[2, 3]).await;
    b.ask::<()>(&["LPOP", "{gm}:ready:a"]).await;
    let ours = b.look().await;
    assert_eq!(ours.findings.len(), 2, "{ours:?}");
    // Another one finds the same, and has finished before we have the lock.
    b.repair().await;
    b.ask::<()>(&["HINCRBY", "{gm}:queue:a", "dead_tasks", "1"]).await;
    let lock = RepairLock::take(&b.broker, &mut b.conn).await.unwrap().unwrap();
    let mut fsck = Fsck::new(&b.broker);
    let left = fsck.check_again(&mut b.conn, &lock, &ours).await.unwrap();
    assert_eq!(left.findings, [], "and nobody has confirmed what is new");
    let record = b.record(messages[0].header.batch).await.unwrap();
    assert_eq!((record.count(OutcomeKind::Lost), b.counters("a").await[0]), (2, 3));
    // What is still wrong is.
    let new = b.look().await;
    let left = fsck.check_again(&mut b.conn, &lock, &new).await.unwrap();
    Bench::expect(left.findings.iter().map(named).collect(), Flaw::QueueCounter, "queue:a", "dead_tasks");
}

#[tokio::test]
async fn what_is_revived_meanwhile_is_no_copy() {
    let mut b = Bench::start().await;
    let messages = b.fill("a", Lane::Normal, &[2, 1]).await;
    let mut consumer = b.join().await;
    b.claim(&mut consumer, &from(&["a"]), take(1)).await;
    b.settle(&mut consumer, &ok(&messages[..1])).await;
    b.ask_bytes(&[b"RPUSH", b"{gm}:ready:a", &messages[0].encode().unwrap()]).await;
    let report = b.look().await;
    let doubled = report.findings.iter().find(|finding| finding.flaw == Flaw::DoubledTask).unwrap();
    b.set(messages[0].header.batch, "revived_at_ms", 1).await;
    let lock = RepairLock::take(&b.broker, &mut b.conn).await.unwrap().unwrap();
    let mut fsck = Fsck::new(&b.broker);
    assert_eq!(fsck.repair(&mut b.conn, &lock, doubled).await.unwrap(), Repaired::Gone);
    assert_eq!(b.ask::<u64>(&["LLEN", "{gm}:ready:a"]).await, 2);
}
