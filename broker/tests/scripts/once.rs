//! The idempotency key of a batch of one, and what a submitter writes on a batch.

use std::time::Duration;

use gristmill_broker::*;
use gristmill_shared::message::BlobRef;
use gristmill_shared::{BatchId, Lane, Message, defaults};

use crate::fixture::*;

const MINUTE: Duration = Duration::from_secs(60);

fn once(window: Duration) -> Option<Once<'static>> {
    Some(Once { key: "order 17: {new}", digest: "d1", window })
}

impl Bench {
    /// Enqueues one task with the key.
    async fn try_once(&mut self, message: &Message, window: Duration) -> Result<Enqueued, BrokerError> {
        let encoded = [message.encode().unwrap()];
        self.try_enqueue(&Enqueue { once: once(window), ..first_call(message, &encoded) }).await
    }

    async fn key_holder(&mut self) -> Result<Option<(BatchId, String)>, BrokerError> {
        self.broker.key_holder(&mut self.conn, "order 17: {new}").await
    }

    async fn once_ttl(&mut self) -> i64 {
        self.ask(&["PTTL", "{gm}:once:order 17: {new}"]).await
    }
}

fn one() -> Message {
    single(BatchId::new(), "a")
}

#[tokio::test]
async fn a_key_is_taken_once_and_tells_who_has_it() {
    let (mut b, first, second) = (Bench::start().await, one(), one());
    assert_eq!(b.key_holder().await.unwrap(), None);
    assert_eq!(b.try_once(&first, MINUTE).await.unwrap(), Enqueued::Done { next_seq: 1 });
    assert_eq!(b.key_holder().await.unwrap(), Some((first.header.batch, "d1".to_owned())));
    assert!((59_000..=60_000).contains(&b.once_ttl().await));
    let before = b.snapshot().await;
    let known = Enqueued::Known { batch: first.header.batch, digest: "d1".to_owned() };
    assert_eq!(b.try_once(&second, MINUTE).await.unwrap(), known);
    assert_eq!(b.try_once(&first, MINUTE).await.unwrap(), Enqueued::Duplicate { next_seq: 1 }, "a lost reply");
    assert_eq!(b.snapshot().await, before);
    assert_eq!(b.counters("a").await, [1, 0, 0, 0, 0]);
    // Another key, and none, are no matter of it.
    let encoded = [second.encode().unwrap()];
    let other = Once { key: "order 18", digest: "d1", window: MINUTE };
    let call = Enqueue { once: Some(other), ..first_call(&second, &encoded) };
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::Done { next_seq: 1 });
    b.fill_one("a").await;
    b.audit().await;
}

#[tokio::test]
async fn a_key_stays_taken_whatever_became_of_the_task_and_is_free_after_its_window() {
    let (mut b, first) = (Bench::start().await, one());
    b.try_once(&first, Duration::from_secs(30)).await.unwrap();
    let known = Enqueued::Known { batch: first.header.batch, digest: "d1".to_owned() };
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &failed(&first)).await;
    assert_eq!(b.try_once(&one(), MINUTE).await.unwrap(), known, "failed");
    let batch = b.keys().batch(first.header.batch);
    b.ask::<()>(&["DEL", &batch]).await;
    assert_eq!(b.try_once(&one(), MINUTE).await.unwrap(), known, "gone");
    assert_eq!(b.try_once(&first, MINUTE).await.unwrap(), known, "gone, and sent again by its own submitter");
    let left = b.once_ttl().await;
    assert!((1..=30_000).contains(&left), "asking does not prolong it: {left}");
    // Its window ends now, and Redis sees to the rest.
    let expired: i64 = b.ask(&["PEXPIRE", "{gm}:once:order 17: {new}", "0"]).await;
    assert_eq!(expired, 1);
    let next = one();
    assert_eq!(b.try_once(&next, MINUTE).await.unwrap(), Enqueued::Done { next_seq: 1 });
    assert!(b.once_ttl().await > 30_000);
}

#[tokio::test]
async fn a_key_of_what_is_refused_is_not_taken() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[1]).await;
    let hash = b.keys().queue(&queue("a"));
    b.ask::<()>(&["HSET", &hash, "depth_limit", "1"]).await;
    let before = b.snapshot().await;
    let message = one();
    assert_eq!(b.try_once(&message, MINUTE).await.unwrap(), Enqueued::QueueFull { depth: 1, limit: 1 });
    let blob = b.broker.blob_keys(message.header.batch, &BlobRef { name: "a0".into(), bytes: 3 });
    let encoded = [message.encode().unwrap()];
    let call = Enqueue { once: once(MINUTE), blobs: &blob, ..first_call(&message, &encoded) };
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::BlobGone { key: blob[0].clone() });
    let call = Enqueue { seal: false, ..call };
    refused(b.try_enqueue(&call).await);
    // A batch of several has no key.
    let several = self::message(BatchId::new(), "a", Lane::Normal, 0, 1);
    refused(b.try_once(&several, MINUTE).await);
    assert_eq!(b.snapshot().await, before);
    b.ask::<()>(&["HDEL", &hash, "depth_limit"]).await;
    assert_eq!(b.try_once(&message, MINUTE).await.unwrap(), Enqueued::Done { next_seq: 1 });
}

#[tokio::test]
async fn whoever_has_the_key_is_named_although_nothing_more_would_fit() {
    let (mut b, first) = (Bench::start().await, one());
    b.try_once(&first, MINUTE).await.unwrap();
    let hash = b.keys().queue(&queue("a"));
    b.ask::<()>(&["HSET", &hash, "depth_limit", "1"]).await;
    let known = Enqueued::Known { batch: first.header.batch, digest: "d1".to_owned() };
    assert_eq!(b.try_once(&one(), MINUTE).await.unwrap(), known);
    b.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(b.try_once(&one(), MINUTE).await.unwrap(), known);
}

#[tokio::test]
async fn at_the_memory_limit_no_key_is_taken() {
    let mut b = Bench::start().await;
    b.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let before = b.snapshot().await;
    assert!(matches!(b.try_once(&one(), MINUTE).await, Err(BrokerError::OutOfMemory)));
    assert_eq!(b.snapshot().await, before);
}

#[tokio::test]
async fn what_stands_at_a_key_and_is_none_of_ours_is_an_error() {
    let mut b = Bench::start().await;
    b.ask::<()>(&["SET", "{gm}:once:order 17: {new}", "what"]).await;
    let before = b.snapshot().await;
    assert!(refused(b.try_once(&one(), MINUTE).await).contains("\"what\""));
    assert_eq!(b.snapshot().await, before);
    b.ask::<()>(&["DEL", "{gm}:once:order 17: {new}"]).await;
    b.ask::<()>(&["RPUSH", "{gm}:once:order 17: {new}", "what"]).await;
    let before = b.snapshot().await;
    assert!(matches!(b.try_once(&one(), MINUTE).await, Err(BrokerError::WrongType(_))));
    assert_eq!(b.snapshot().await, before);
}

#[tokio::test]
async fn fsck_knows_a_key_and_lets_no_key_live_for_ever() {
    let mut b = Bench::start().await;
    b.try_once(&one(), MINUTE).await.unwrap();
    assert!(b.look().await.findings.is_empty());
    b.ask::<()>(&["PERSIST", "{gm}:once:order 17: {new}"]).await;
    Bench::expect(b.repair().await, fsck::Flaw::NoTtl, "once:order 17: {new}", "");
    assert!(b.once_ttl().await > DAY_MS as i64, "not forgotten before its time");
}

/// One task with these fields.
async fn with_fields(b: &mut Bench, fields: &[(&str, &str)]) -> (BatchId, Result<Enqueued, BrokerError>) {
    let message = one();
    let encoded = [message.encode().unwrap()];
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let call = Enqueue { fields: &fields, ..first_call(&message, &encoded) };
    (message.header.batch, b.try_enqueue(&call).await)
}

#[tokio::test]
async fn labels_stand_in_the_batch() {
    let mut b = Bench::start().await;
    let value = "x".repeat(defaults::LABEL_VALUE_BYTES_MAX);
    let fields = [("label.team", "ü 1"), ("label.a-b_c.9", ""), ("label.long", &value), ("key", "k 1")];
    let (batch, answer) = with_fields(&mut b, &fields).await;
    assert_eq!(answer.unwrap(), Enqueued::Done { next_seq: 1 });
    let record = b.record(batch).await.unwrap();
    let expected = [("a-b_c.9", ""), ("long", &value), ("team", "ü 1")];
    assert_eq!(record.labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!((record.key.as_deref(), record.tasks), (Some("k 1"), 1));
    assert!(b.look().await.findings.is_empty());
}

#[tokio::test]
async fn only_the_first_call_labels_a_batch_of_several() {
    let mut b = Bench::start().await;
    let messages = [message(BatchId::new(), "a", Lane::Normal, 0, 1), message(BatchId::new(), "a", Lane::Normal, 1, 1)];
    let batch = messages[0].header.batch;
    let (zero, one) = ([messages[0].encode().unwrap()], []);
    let label = |value: &str| [(label_field("n"), value.to_owned())];
    let call = Enqueue { seal: false, fields: &label("first"), ..first_call(&messages[0], &zero) };
    b.try_enqueue(&call).await.unwrap();
    let call = Enqueue { seq: 1, fields: &label("second"), ..first_call(&messages[0], &one) };
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::Done { next_seq: 2 });
    assert_eq!(b.record(batch).await.unwrap().labels["n"], "first");
}

#[tokio::test]
async fn fields_that_nobody_may_write_are_refused() {
    let mut b = Bench::start().await;
    let before = b.snapshot().await;
    let (long_name, long_value) = (format!("label.{}", "n".repeat(65)), "v".repeat(257));
    let wrong = [
        ("state", "finished"),
        ("label.", ""),
        ("label.Team", "1"),
        ("label.a b", "1"),
        (&long_name, "1"),
        ("label.a", &long_value),
        ("key", &long_value),
        ("shared_bytes", "-1"),
        ("shared_parts", "many"),
        ("xlabel.a", "1"),
    ];
    for field in wrong {
        refused(with_fields(&mut b, &[field]).await.1);
        assert_eq!(b.snapshot().await, before, "{field:?}");
    }
    let many: Vec<_> = (0..20).map(|n| format!("label.{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "")).collect();
    assert!(refused(with_fields(&mut b, &many).await.1).contains("16"));
    assert_eq!(b.snapshot().await, before);
    let fine = [("shared_bytes", "4294967296"), ("shared_parts", "512")];
    assert_eq!(with_fields(&mut b, &fine).await.1.unwrap(), Enqueued::Done { next_seq: 1 });
}
