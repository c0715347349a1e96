use std::time::Duration;

use gristmill_broker::*;
use gristmill_shared::message::BlobRef;
use gristmill_shared::{BatchId, Lane, defaults};

use crate::fixture::*;

/// Calls of one batch with messages of the given counts.
struct Feeder {
    batch: BatchId,
    tasks: u64,
}

impl Feeder {
    fn messages(&mut self, counts: &[u32]) -> Vec<Vec<u8>> {
        let mut one = |count: u32| {
            let message = message(self.batch, "a", Lane::Normal, self.tasks, count);
            self.tasks += u64::from(count);
            message.encode().unwrap()
        };
        counts.iter().map(|&count| one(count)).collect()
    }
}

fn feeder() -> Feeder {
    Feeder { batch: BatchId::new(), tasks: 0 }
}

async fn send(b: &mut Bench, batch: BatchId, seq: u64, seal: bool, messages: &[Vec<u8>]) -> Enqueued {
    let any = message(batch, "a", Lane::Normal, 0, 1);
    b.try_enqueue(&Enqueue { seq, seal, ..first_call(&any, messages) }).await.unwrap()
}

#[tokio::test]
async fn calls_are_taken_once_and_in_order() {
    let (mut b, mut feeder) = (Bench::start().await, feeder());
    let batch = feeder.batch;
    let (zero, one) = (feeder.messages(&[2, 3]), feeder.messages(&[1]));
    assert_eq!(send(&mut b, batch, 1, false, &one).await, Enqueued::Gone);
    assert_eq!(send(&mut b, batch, 0, false, &zero).await, Enqueued::Done { next_seq: 1 });
    let before = b.snapshot().await;
    assert_eq!(send(&mut b, batch, 0, false, &zero).await, Enqueued::Duplicate { next_seq: 1 });
    assert_eq!(send(&mut b, batch, 2, true, &one).await, Enqueued::Gap { next_seq: 1 });
    assert_eq!(b.snapshot().await, before);
    assert_eq!(send(&mut b, batch, 1, true, &one).await, Enqueued::Done { next_seq: 2 });
    assert_eq!(send(&mut b, batch, 1, true, &one).await, Enqueued::Duplicate { next_seq: 2 });
    let before = b.snapshot().await;
    assert_eq!(send(&mut b, batch, 2, false, &feeder.messages(&[1])).await, Enqueued::Sealed);
    assert_eq!(b.snapshot().await, before);

    let record = b.record(batch).await.unwrap();
    assert_eq!((record.state, record.tasks, record.total, record.next_seq), (BatchState::Sealed, 6, Some(6), 2));
    let stats = b.broker.queue_stats(&mut b.conn, &queue("a")).await.unwrap();
    assert_eq!((stats.depth_messages, stats.ready_tasks, stats.totals["enqueued"]), ([0, 3, 0], 6, 6));
    assert_eq!(b.broker.queue_names(&mut b.conn).await.unwrap(), [queue("a")]);
    b.audit().await;
}

#[tokio::test]
async fn what_does_not_continue_the_batch_is_refused() {
    let mut b = Bench::start().await;
    let batch = BatchId::new();
    let good = message(batch, "a", Lane::Normal, 0, 2);
    b.put(std::slice::from_ref(&good), false).await;
    let before = b.snapshot().await;
    let other_flag = single(batch, "a");
    let wrong = [
        message(batch, "a", Lane::Normal, 3, 1).encode().unwrap(),
        message(batch, "a", Lane::Normal, 1, 1).encode().unwrap(),
        message(batch, "a", Lane::Low, 2, 1).encode().unwrap(),
        message(batch, "b", Lane::Normal, 2, 1).encode().unwrap(),
        message(BatchId::new(), "a", Lane::Normal, 2, 1).encode().unwrap(),
        other_flag.encode().unwrap(),
        b"rubbish".to_vec(),
    ];
    for bytes in wrong {
        let messages = [bytes];
        let call = Enqueue { seq: 1, single: false, ..first_call(&good, &messages) };
        refused(b.try_enqueue(&call).await);
        assert_eq!(b.snapshot().await, before);
    }
    let two = vec![other_flag.encode().unwrap(); 1];
    let fresh = single(BatchId::new(), "a");
    refused(b.try_enqueue(&Enqueue { seal: false, ..first_call(&fresh, &[fresh.encode().unwrap()]) }).await);
    refused(b.try_enqueue(&Enqueue { single: true, batch: BatchId::new(), ..first_call(&good, &two) }).await);
    assert_eq!(b.snapshot().await, before);
}

#[tokio::test]
async fn a_call_holds_at_most_a_thousand_messages() {
    let (mut b, mut feeder) = (Bench::start().await, feeder());
    let many = feeder.messages(&vec![1; 9_000]);
    let any = message(feeder.batch, "a", Lane::Normal, 0, 1);
    let before = b.snapshot().await;
    assert!(refused(b.try_enqueue(&first_call(&any, &many)).await).contains("1000"));
    assert_eq!(b.snapshot().await, before);
    assert_eq!(send(&mut b, feeder.batch, 0, true, &many[..1000]).await, Enqueued::Done { next_seq: 1 });
    b.audit().await;
}

#[tokio::test]
async fn an_empty_batch_finishes_when_it_is_sealed() {
    let mut b = Bench::start().await;
    let batch = BatchId::new();
    assert_eq!(send(&mut b, batch, 0, false, &[]).await, Enqueued::Done { next_seq: 1 });
    assert_eq!(b.record(batch).await.unwrap().state, BatchState::Open);
    assert_eq!(send(&mut b, batch, 1, true, &[]).await, Enqueued::Done { next_seq: 2 });
    assert_eq!(b.record(batch).await.unwrap().state, BatchState::Finished);
    assert!(!b.rang("a").await);
    b.audit().await;
}

#[tokio::test]
async fn sealing_after_the_last_outcome_finishes_the_batch() {
    let mut b = Bench::start().await;
    let message = message(BatchId::new(), "a", Lane::Normal, 0, 2);
    b.put(std::slice::from_ref(&message), false).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &ok(std::slice::from_ref(&message))).await;
    assert_eq!(b.record(message.header.batch).await.unwrap().state, BatchState::Open);
    send(&mut b, message.header.batch, 1, true, &[]).await;
    let record = b.record(message.header.batch).await.unwrap();
    assert_eq!((record.state, record.total), (BatchState::Finished, Some(2)));
    b.audit().await;
}

#[tokio::test]
async fn the_doorbell_rings_when_a_lane_becomes_non_empty_and_the_queue_is_not_paused() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[1]).await;
    assert!(b.rang("a").await);
    b.fill("a", Lane::Normal, &[1]).await;
    assert!(!b.rang("a").await, "the lane was not empty");
    b.fill("a", Lane::High, &[1]).await;
    assert!(b.rang("a").await, "another lane became non-empty");
    b.pause("p").await;
    b.fill("p", Lane::Normal, &[1]).await;
    assert!(!b.rang("p").await);
}

#[tokio::test]
async fn what_is_due_later_waits() {
    let mut b = Bench::start().await;
    let message = message(BatchId::new(), "a", Lane::Normal, 0, 3);
    let (encoded, now) = ([message.encode().unwrap()], b.now().await);
    let call = first_call(&message, &encoded);
    b.try_enqueue(&Enqueue { due_at_ms: Some(now + 60_000), ..call.clone() }).await.unwrap();
    assert_eq!(b.counters("a").await, [0, 0, 3, 0, 0]);
    assert!(!b.rang("a").await);
    let past = Enqueue { due_at_ms: Some(now - 1), ..call };
    assert_eq!(b.try_enqueue(&past).await.unwrap(), Enqueued::Duplicate { next_seq: 1 });
    b.audit().await;
}

#[tokio::test]
async fn a_full_lane_refuses_and_nothing_is_written() {
    let (mut b, mut feeder) = (Bench::start().await, feeder());
    b.fill("a", Lane::Normal, &[1, 1]).await;
    let hash = b.keys().queue(&queue("a"));
    b.ask::<()>(&["HSET", &hash, "depth_limit", "3"]).await;
    let before = b.snapshot().await;
    let two = feeder.messages(&[1, 1]);
    assert_eq!(send(&mut b, feeder.batch, 0, false, &two).await, Enqueued::QueueFull { depth: 2, limit: 3 });
    assert_eq!(b.snapshot().await, before);
    assert_eq!(send(&mut b, feeder.batch, 0, false, &two[..1]).await, Enqueued::Done { next_seq: 1 });
    assert_eq!(send(&mut b, feeder.batch, 1, true, &[]).await, Enqueued::Done { next_seq: 2 }, "sealing always fits");
}

#[tokio::test]
async fn a_full_scheduled_set_refuses_and_nothing_is_written() {
    let (mut b, mut feeder) = (Bench::start().await, feeder());
    let hash = b.keys().queue(&queue("a"));
    b.ask::<()>(&["HSET", &hash, "depth_limit", "3"]).await;
    let (due_at_ms, batch) = (Some(b.now().await + 60_000), feeder.batch);
    let any = message(batch, "a", Lane::Normal, 0, 1);
    let (two, more) = (feeder.messages(&[1, 1]), feeder.messages(&[1, 1]));
    let schedule = |seq, messages| Enqueue { seq, seal: false, due_at_ms, ..first_call(&any, messages) };
    assert_eq!(b.try_enqueue(&schedule(0, &two)).await.unwrap(), Enqueued::Done { next_seq: 1 });
    let before = b.snapshot().await;
    assert_eq!(b.try_enqueue(&schedule(1, &more)).await.unwrap(), Enqueued::QueueFull { depth: 2, limit: 3 });
    assert_eq!(b.snapshot().await, before);
    assert_eq!(b.try_enqueue(&schedule(1, &more[..1])).await.unwrap(), Enqueued::Done { next_seq: 2 });
    b.fill("a", Lane::Normal, &[1, 1, 1]).await;
    assert_eq!(b.counters("a").await, [3, 0, 3, 0, 0], "a full scheduled set leaves the lanes open");
    let past = Enqueue { due_at_ms: Some(1), ..schedule(2, &more[1..]) };
    assert_eq!(b.try_enqueue(&past).await.unwrap(), Enqueued::QueueFull { depth: 3, limit: 3 }, "due is now");
    b.audit().await;
}

#[tokio::test]
async fn a_blob_outlives_the_messages_that_name_it() {
    let mut b = Bench::start().await;
    let message = message(BatchId::new(), "a", Lane::Normal, 0, 1);
    let blob = BlobRef { name: "a0".into(), bytes: 3 };
    let keys = b.broker.blob_keys(message.header.batch, &blob);
    let encoded = [message.encode().unwrap()];
    let due = b.now().await + 30 * DAY_MS;
    let call = Enqueue { blobs: &keys, due_at_ms: Some(due), ..first_call(&message, &encoded) };
    let before = b.snapshot().await;
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::BlobGone { key: keys[0].clone() });
    assert_eq!(b.snapshot().await, before);

    let minute = Duration::from_secs(60);
    b.broker.put_blob(&mut b.conn, message.header.batch, "a0", &[1, 2, 3], minute).await.unwrap();
    b.try_enqueue(&call).await.unwrap();
    let (ttl, now) = (b.ask::<u64>(&["PTTL", &keys[0]]).await, b.now().await);
    let batch_ends = message.header.expires_at_ms + DAY_MS;
    let margin = defaults::BLOB_MARGIN.as_millis() as u64;
    assert!(now + ttl > batch_ends && now + ttl < batch_ends + margin + 10_000, "{ttl}");
}

#[tokio::test]
async fn the_life_of_a_blob_is_never_shortened() {
    let mut b = Bench::start().await;
    let mut message = message(BatchId::new(), "a", Lane::Normal, 0, 1);
    message.header.expires_at_ms = b.now().await + 1000;
    let long = Duration::from_millis(90 * DAY_MS);
    let blob = b.broker.put_blob(&mut b.conn, message.header.batch, "a0", &[1, 2, 3], long).await.unwrap();
    let keys = b.broker.blob_keys(message.header.batch, &blob);
    let encoded = [message.encode().unwrap()];
    b.try_enqueue(&Enqueue { blobs: &keys, ..first_call(&message, &encoded) }).await.unwrap();
    assert!(b.ask::<u64>(&["PTTL", &keys[0]]).await > 89 * DAY_MS);
}

#[tokio::test]
async fn a_batch_of_one_lives_past_its_expiry_and_one_of_several_until_it_is_swept() {
    let mut b = Bench::start().await;
    let mut one = single(BatchId::new(), "a");
    one.header.expires_at_ms = b.now().await + 1000;
    b.put(std::slice::from_ref(&one), true).await;
    let key = b.keys().batch(one.header.batch);
    let ttl = b.ask::<u64>(&["PTTL", &key]).await;
    assert!((DAY_MS..=DAY_MS + 1000).contains(&ttl), "{ttl}");
    let several = b.fill("a", Lane::Normal, &[1]).await;
    let key = b.keys().batch(several[0].header.batch);
    assert_eq!(b.ask::<i64>(&["PTTL", &key]).await, -1);
    let batches = b.keys().batches();
    assert_eq!(b.ask::<u64>(&["ZCARD", &batches]).await, 1);
    b.audit().await;
}
