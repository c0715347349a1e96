use gristmill_broker::*;
use gristmill_shared::{BatchId, Lane, Message, defaults};

use crate::fixture::*;

async fn sweep(b: &mut Bench, message: &Message) -> Swept {
    b.broker.sweep(&mut b.conn, message.header.batch).await.unwrap()
}

/// Keys that carry the id of the batch, and the entries about it elsewhere.
async fn traces(b: &mut Bench, id: BatchId) -> Vec<String> {
    let (batches, cancelled) = (b.keys().batches(), b.keys().cancelled());
    let mut traces: Vec<String> = b.ask(&["KEYS", &format!("*{id}*")]).await;
    if b.ask::<Option<u64>>(&["ZSCORE", &batches, &id.to_string()]).await.is_some() {
        traces.push("batches".into());
    }
    if b.ask::<bool>(&["HEXISTS", &cancelled, &id.to_string()]).await {
        traces.push("cancelled".into());
    }
    traces
}

async fn look_at(b: &mut Bench, id: BatchId) -> u64 {
    let batches = b.keys().batches();
    b.ask(&["ZSCORE", &batches, &id.to_string()]).await
}

async fn finished(counts: &[u32]) -> (Bench, Vec<Message>) {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, counts).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &ok(&m)).await;
    (b, m)
}

#[tokio::test]
async fn an_open_batch_that_nobody_touches_is_sealed_as_abandoned() {
    let mut b = Bench::start().await;
    let m = message(BatchId::new(), "a", Lane::Normal, 0, 2);
    b.put(std::slice::from_ref(&m), false).await;
    assert_eq!(sweep(&mut b, &m).await, Swept::Kept);
    let then = b.now().await - 301_000;
    b.set(m.header.batch, "touched_at_ms", then).await;
    b.broker.touch(&mut b.conn, &[m.header.batch]).await.unwrap();
    assert_eq!(sweep(&mut b, &m).await, Swept::Kept, "its client touched it");
    b.set(m.header.batch, "touched_at_ms", then).await;
    assert_eq!(sweep(&mut b, &m).await, Swept::Abandoned);
    let record = b.record(m.header.batch).await.unwrap();
    assert_eq!((record.state, record.total, record.abandoned), (BatchState::Sealed, Some(2), true));
    assert_eq!(sweep(&mut b, &m).await, Swept::Kept);
    let encoded = [message(m.header.batch, "a", Lane::Normal, 2, 1).encode().unwrap()];
    let call = Enqueue { seq: 1, ..first_call(&m, &encoded) };
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::Sealed);
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &ok(std::slice::from_ref(&m))).await;
    assert_eq!(b.record(m.header.batch).await.unwrap().state, BatchState::Finished);
    b.audit().await;
}

#[tokio::test]
async fn an_abandoned_batch_whose_tasks_have_ended_finishes_at_once() {
    let mut b = Bench::start().await;
    let m = message(BatchId::new(), "a", Lane::Normal, 0, 2);
    b.put(std::slice::from_ref(&m), false).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &ok(std::slice::from_ref(&m))).await;
    b.set(m.header.batch, "touched_at_ms", 1).await;
    assert_eq!(sweep(&mut b, &m).await, Swept::Abandoned);
    assert_eq!(b.record(m.header.batch).await.unwrap().state, BatchState::Finished);
    let (at, now) = (look_at(&mut b, m.header.batch).await, b.now().await);
    assert!(at > now && at <= now + DAY_MS, "its results stay for their ttl from now");
    b.audit().await;
}

#[tokio::test]
async fn results_go_a_ttl_after_the_end_and_nothing_is_left() {
    let (mut b, m) = finished(&[3]).await;
    let id = m[0].header.batch;
    let cancelled = b.keys().cancelled();
    b.ask::<()>(&["HSET", &cancelled, &id.to_string(), "1"]).await;
    assert_eq!(sweep(&mut b, &m[0]).await, Swept::Kept);
    assert_eq!(traces(&mut b, id).await.len(), 5);
    b.set(id, "finished_at_ms", 1).await;
    assert_eq!(sweep(&mut b, &m[0]).await, Swept::Kept, "somebody touched it after it had finished");
    b.set(id, "touched_at_ms", 1).await;
    assert_eq!(sweep(&mut b, &m[0]).await, Swept::Gone);
    assert_eq!(traces(&mut b, id).await, [""; 0]);
    assert_eq!(sweep(&mut b, &m[0]).await, Swept::Gone);
    b.audit().await;
}

#[tokio::test]
async fn a_large_batch_goes_in_slices_and_its_hash_last() {
    let (mut b, m) = finished(&[1]).await;
    let id = m[0].header.batch;
    b.set(id, "tasks", 8192 * 130).await;
    for bucket in 0..130 {
        let key = b.keys().results(id, bucket);
        b.ask::<()>(&["HSET", &key, "0", "x"]).await;
    }
    for field in ["finished_at_ms", "touched_at_ms"] {
        b.set(id, field, 1).await;
    }
    for left in [130 - 64 + 3, 130 - 128 + 3] {
        assert_eq!(sweep(&mut b, &m[0]).await, Swept::Slice);
        assert_eq!(traces(&mut b, id).await.len(), left);
    }
    assert_eq!(sweep(&mut b, &m[0]).await, Swept::Gone);
    assert_eq!(traces(&mut b, id).await, [""; 0]);
}

#[tokio::test]
async fn a_batch_that_never_finished_goes_when_its_life_is_over() {
    let mut b = Bench::start().await;
    let mut m = message(BatchId::new(), "a", Lane::Normal, 0, 2);
    m.header.expires_at_ms = 1;
    b.put(std::slice::from_ref(&m), true).await;
    assert_eq!(sweep(&mut b, &m).await, Swept::Kept);
    b.set(m.header.batch, "touched_at_ms", 1).await;
    assert_eq!(sweep(&mut b, &m).await, Swept::Gone);
    assert_eq!(traces(&mut b, m.header.batch).await, [""; 0]);
    let mut c = b.join().await;
    let claimed = b.claim(&mut c, &from(&["a"]), LOTS).await;
    assert_eq!(flags(&claimed), [ClaimFlag::Expired], "its messages are not lost, only late");
}

#[tokio::test]
async fn the_cancel_mark_of_a_batch_of_one_goes_after_its_hash() {
    let mut b = Bench::start().await;
    let one = b.fill_one("a").await;
    let (id, key) = (one.header.batch, b.keys().batch(one.header.batch));
    b.broker.cancel(&mut b.conn, id, None).await.unwrap();
    assert_eq!(sweep(&mut b, &one).await, Swept::Kept);
    let (at, now, ttl) = (look_at(&mut b, id).await, b.now().await, b.ask::<u64>(&["PTTL", &key]).await);
    assert!(at > now + ttl, "it is looked at again when the hash has expired");
    b.ask::<()>(&["DEL", &key]).await;
    assert_eq!(sweep(&mut b, &one).await, Swept::Gone);
    assert_eq!(traces(&mut b, id).await, [""; 0]);
}

#[tokio::test]
async fn a_finished_batch_with_a_revived_task_waits_for_it() {
    let (mut b, m) = finished(&[1]).await;
    let id = m[0].header.batch;
    b.set(id, "succeeded", 0).await;
    b.set(id, "finished_at_ms", 1).await;
    b.set(id, "touched_at_ms", 1).await;
    assert_eq!(sweep(&mut b, &m[0]).await, Swept::Kept);
    b.set(id, "succeeded", 1).await;
    assert_eq!(sweep(&mut b, &m[0]).await, Swept::Gone);
}

/// Batches whose life is over, but for what this command spoils; each is `BAD`, loses nothing, and is due in an hour.
async fn is_bad(spoil: impl Fn(&str) -> Vec<Vec<String>>) {
    let (mut b, m) = finished(&[2]).await;
    let id = m[0].header.batch;
    let (key, batches) = (b.keys().batch(id), b.keys().batches());
    for field in ["touched_at_ms", "last_expiry_ms", "finished_at_ms"] {
        b.set(id, field, 1).await;
    }
    for words in spoil(&key) {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        b.ask::<redis::Value>(&words).await;
    }
    b.ask::<()>(&["ZADD", &batches, "1", &id.to_string()]).await;
    let before = traces(&mut b, id).await;
    assert_eq!(sweep(&mut b, &m[0]).await, Swept::Bad, "{:?}", spoil(&key));
    assert_eq!(traces(&mut b, id).await, before, "{:?}", spoil(&key));
    let (now, due) = (b.now().await, look_at(&mut b, id).await);
    assert!((now + 3_590_000..=now + 3_600_000).contains(&due), "{:?}: {due}, now {now}", spoil(&key));
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_is_left_alone_for_an_hour() {
    for field in ["tasks", "touched_at_ms", "last_expiry_ms", "result_ttl_ms", "total"] {
        is_bad(|key| vec![words(&["HDEL", key, field])]).await;
        is_bad(|key| vec![words(&["HSET", key, field, "x"])]).await;
    }
    for odd in ["", "-1", "nan", "inf", "0x10", "1.5"] {
        is_bad(|key| vec![words(&["HSET", key, "last_expiry_ms", odd])]).await;
    }
    is_bad(|key| vec![words(&["HSET", key, "finished_at_ms", "x"])]).await;
    is_bad(|key| vec![words(&["HSET", key, "swept", "x"])]).await;
    is_bad(|key| vec![words(&["HDEL", key, "state"])]).await;
    is_bad(|key| vec![words(&["DEL", key]), words(&["HSET", key, "state", "odd", "total", "x"])]).await;
}

#[tokio::test]
async fn batches_that_cannot_be_read_do_not_stand_before_others() {
    let mut b = Bench::start().await;
    for _ in 0..64 {
        let id = BatchId::new();
        b.set(id, "state", "odd").await;
        b.ask::<()>(&["ZADD", "{gm}:batches", "1", &id.to_string()]).await;
    }
    let other = BatchId::new().to_string();
    b.ask::<()>(&["ZADD", "{gm}:batches", "2", &other]).await;
    let mut due = b.broker.tick(&mut b.conn, &[], defaults::LEASE, 0).await.unwrap().batches;
    assert_eq!(due.len(), 64);
    for id in due {
        assert_eq!(b.broker.sweep(&mut b.conn, id).await.unwrap(), Swept::Bad);
    }
    due = b.broker.tick(&mut b.conn, &[], defaults::LEASE, 0).await.unwrap().batches;
    assert_eq!(due.iter().map(ToString::to_string).collect::<Vec<_>>(), [other]);
}
