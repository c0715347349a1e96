//! Shared input: checked and prolonged by every call of its batch, deleted with it.

use std::time::Duration;

use gristmill_broker::*;
use gristmill_shared::message::SharedRef;
use gristmill_shared::{BatchId, Body, Lane, Message, defaults};

use crate::fixture::*;

const PART: usize = defaults::BLOB_PART_BYTES;

fn sharing(mut message: Message, shared: &SharedRef) -> Message {
    let body = Body { shared: Some(shared.clone()), ..body(message.header.count) };
    message = Message::new(message.header, &body).unwrap();
    message
}

async fn upload(b: &mut Bench, batch: BatchId, shared: &SharedRef) -> Vec<String> {
    let broker = b.broker.clone();
    for part in 0..shared.parts() {
        let bytes = vec![part as u8; shared.part_bytes(part)];
        broker.put_shared_part(&mut b.conn, batch, part, &bytes, LEASE).await.unwrap();
    }
    broker.shared_keys(batch, shared)
}

fn fields(shared: &SharedRef) -> Vec<(String, String)> {
    let field = |name: &str, value: u64| (name.to_owned(), value.to_string());
    vec![field("shared_bytes", shared.bytes), field("shared_parts", shared.parts() as u64)]
}

#[tokio::test]
async fn parts_are_read_one_by_one_and_never_more_than_they_should_be() {
    let mut b = Bench::start().await;
    let (batch, broker, shared) = (BatchId::new(), b.broker.clone(), SharedRef::new(PART as u64 + 7, None));
    let keys = upload(&mut b, batch, &shared).await;
    assert_eq!(keys.len(), 2);
    let last = broker.get_shared_part(&mut b.conn, batch, &shared, 1).await.unwrap();
    assert_eq!(last, Some(vec![1; 7]));
    assert_eq!(broker.missing_shared_parts(&mut b.conn, batch, &shared).await.unwrap(), [0; 0]);
    // Smaller, larger, and gone.
    b.ask::<()>(&["SET", &keys[1], "short"]).await;
    assert!(broker.get_shared_part(&mut b.conn, batch, &shared, 1).await.is_err());
    b.ask::<()>(&["SET", &keys[1], "too long a part"]).await;
    assert!(broker.get_shared_part(&mut b.conn, batch, &shared, 1).await.is_err());
    b.ask::<()>(&["DEL", &keys[1]]).await;
    assert_eq!(broker.get_shared_part(&mut b.conn, batch, &shared, 1).await.unwrap(), None);
    assert_eq!(broker.missing_shared_parts(&mut b.conn, batch, &shared).await.unwrap(), [1]);
    // Of a packed part only the most that it can take is read.
    let packed = SharedRef::new(100, Some(50));
    broker.put_shared_part(&mut b.conn, batch, 0, &vec![0; PART], LEASE).await.unwrap();
    assert!(broker.get_shared_part(&mut b.conn, batch, &packed, 0).await.is_err());
}

#[tokio::test]
async fn every_call_checks_and_prolongs_it() {
    let mut b = Bench::start().await;
    let shared = SharedRef::new(PART as u64 + 1, None);
    let m = sharing(message(BatchId::new(), "a", Lane::Normal, 0, 1), &shared);
    let (encoded, fields) = ([m.encode().unwrap()], fields(&shared));
    let keys = b.broker.shared_keys(m.header.batch, &shared);
    let call = Enqueue { seal: false, blobs: &keys, fields: &fields, ..first_call(&m, &encoded) };
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::BlobGone { key: keys[0].clone() });
    upload(&mut b, m.header.batch, &shared).await;
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::Done { next_seq: 1 });
    for key in &keys {
        assert!(b.ask::<u64>(&["PTTL", key]).await > LEASE.as_millis() as u64, "{key}");
    }
    b.ask::<()>(&["DEL", &keys[1]]).await;
    let m = sharing(message(m.header.batch, "a", Lane::Normal, 1, 1), &shared);
    let encoded = [m.encode().unwrap()];
    let call = Enqueue { seq: 1, blobs: &keys, fields: &[], ..first_call(&m, &encoded) };
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::BlobGone { key: keys[1].clone() });
    b.audit().await;
}

#[tokio::test]
async fn it_goes_in_slices_with_its_batch() {
    let mut b = Bench::start().await;
    let shared = SharedRef::new(100 * PART as u64, Some(100));
    let m = sharing(message(BatchId::new(), "a", Lane::Normal, 0, 1), &shared);
    let (encoded, fields) = ([m.encode().unwrap()], fields(&shared));
    let (id, broker) = (m.header.batch, b.broker.clone());
    for part in 0..shared.parts() {
        broker.put_shared_part(&mut b.conn, id, part, b"x", LEASE).await.unwrap();
    }
    let keys = broker.shared_keys(id, &shared);
    let call = Enqueue { blobs: &keys, fields: &fields, ..first_call(&m, &encoded) };
    b.try_enqueue(&call).await.unwrap();
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &ok(std::slice::from_ref(&m))).await;
    assert_eq!(broker.sweep(&mut b.conn, id).await.unwrap(), Swept::Kept);
    for field in ["finished_at_ms", "touched_at_ms"] {
        b.set(id, field, 1).await;
    }
    assert_eq!(broker.sweep(&mut b.conn, id).await.unwrap(), Swept::Slice);
    assert_eq!(broker.missing_shared_parts(&mut b.conn, id, &shared).await.unwrap().len(), 63, "with one bucket");
    assert_eq!(broker.sweep(&mut b.conn, id).await.unwrap(), Swept::Gone);
    assert_eq!(b.ask::<Vec<String>>(&["KEYS", &format!("*{id}*")]).await, [""; 0]);
    // A number that cannot be is not walked through.
    b.set(id, "state", "finished").await;
    for (field, value) in
        [("tasks", 1), ("total", 1), ("touched_at_ms", 1), ("last_expiry_ms", 1), ("result_ttl_ms", 1)]
    {
        b.set(id, field, value).await;
    }
    b.set(id, "shared_parts", 513).await;
    assert_eq!(broker.sweep(&mut b.conn, id).await.unwrap(), Swept::Bad);
}

#[tokio::test]
async fn without_it_a_dead_letter_stays_dead() {
    let mut b = Bench::start().await;
    let shared = SharedRef::new(3, None);
    let m = sharing(single(BatchId::new(), "a"), &shared);
    let keys = upload(&mut b, m.header.batch, &shared).await;
    b.put(std::slice::from_ref(&m), true).await;
    let mut c = b.join().await;
    crate::revive::bury(&mut b, &mut c).await;
    assert!(b.ask::<u64>(&["PTTL", &keys[0]]).await <= LEASE.as_millis() as u64, "too large to be kept for it");
    b.ask::<()>(&["RENAME", &keys[0], "{gm}:elsewhere"]).await;
    assert_eq!(crate::revive::revive(&mut b, &m).await, Revived::SharedGone);
    b.ask::<()>(&["RENAME", "{gm}:elsewhere", &keys[0]]).await;
    assert_eq!(crate::revive::revive(&mut b, &m).await, Revived::Done);
    let kept = Duration::from_millis(b.ask::<u64>(&["PTTL", &keys[0]]).await);
    assert!(kept > defaults::MESSAGE_LIFE, "{kept:?}");
}
