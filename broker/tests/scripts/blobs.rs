use gristmill_broker::*;
use gristmill_shared::message::BlobRef;
use gristmill_shared::outcome::decode_run;
use gristmill_shared::{BatchId, Outcome, defaults};

use crate::fixture::*;

#[tokio::test]
async fn a_blob_survives_in_parts_and_expires() {
    let mut b = Bench::start().await;
    let (batch, broker) = (BatchId::new(), b.broker.clone());
    let bytes: Vec<u8> = (0..defaults::BLOB_PART_BYTES + 7).map(|i| i as u8).collect();
    let blob = broker.put_blob(&mut b.conn, batch, "a0", &bytes, LEASE).await.unwrap();
    let keys = broker.blob_keys(batch, &blob);
    assert_eq!(keys.len(), 2);
    assert!(broker.get_blob(&mut b.conn, batch, &blob).await.unwrap() == Some(bytes));
    for key in &keys {
        assert!(b.ask::<u64>(&["PTTL", key]).await <= 10_000);
    }
    b.ask::<()>(&["DEL", &keys[1]]).await;
    assert_eq!(broker.get_blob(&mut b.conn, batch, &blob).await.unwrap(), None, "a part is gone");
    let empty = broker.put_blob(&mut b.conn, batch, "a1", b"", LEASE).await.unwrap();
    assert_eq!(broker.get_blob(&mut b.conn, batch, &empty).await.unwrap(), Some(vec![]));
}

#[tokio::test]
async fn a_name_cannot_reach_outside_and_a_size_is_believed_by_nobody() {
    let mut b = Bench::start().await;
    let (batch, broker) = (BatchId::new(), b.broker.clone());
    let before = b.snapshot().await;
    for name in ["", "../x", "a:0", "A0"] {
        assert!(broker.put_blob(&mut b.conn, batch, name, b"x", LEASE).await.is_err());
    }
    assert_eq!(b.snapshot().await, before);
    broker.put_blob(&mut b.conn, batch, "a0", b"abc", LEASE).await.unwrap();
    let longer = BlobRef { name: "a0".into(), bytes: 4 };
    assert_eq!(broker.get_blob(&mut b.conn, batch, &longer).await.unwrap(), None);
    let shorter = BlobRef { name: "a0".into(), bytes: 2 };
    assert!(broker.get_blob(&mut b.conn, batch, &shorter).await.is_err());
}

/// The output of the first task of `message`, uploaded under the name of its consumer and attempt.
async fn output(
    b: &mut Bench,
    c: &Consumer,
    message: &gristmill_shared::Message,
    bytes: &[u8],
) -> (BlobRef, Settlement) {
    let (batch, attempt) = (message.header.batch, message.header.attempt);
    let name = format!("o0.{}.0.{attempt}", c.id);
    let blob = b.broker.put_blob(&mut b.conn, batch, &name, bytes, LEASE).await.unwrap();
    let runs = vec![run(message, vec![Outcome::Blob(blob.clone())])];
    (blob, settlement(std::slice::from_ref(message), Ending { runs, ..Ending::default() }))
}

#[tokio::test]
async fn what_a_zombie_uploads_does_not_change_the_winners_value() {
    let mut b = Bench::start().await;
    let message = b.fill_one("a").await;
    let batch = message.header.batch;
    let (mut zombie, mut winner) = (b.join().await, b.join().await);
    b.claim(&mut zombie, &from(&["a"]), LOTS).await;
    b.broker.reclaim(&mut b.conn, zombie.id, &DeathReport::Ordered, &[queue("a")]).await.unwrap();
    b.claim(&mut winner, &from(&["a"]), LOTS).await;
    let (blob, end) = output(&mut b, &winner, &message, b"the winner's").await;
    b.settle(&mut winner, &end).await;
    let (_, late) = output(&mut b, &zombie, &message, b"the zombie's").await;
    assert_eq!(b.try_settle(&zombie.next(), &late).await.unwrap(), Claim::LeaseLost);
    let key = b.keys().batch(batch);
    let outcome = decode_run(&b.ask::<Vec<u8>>(&["HGET", &key, "outcome"]).await).unwrap().remove(0);
    assert_eq!(outcome, Outcome::Blob(blob.clone()));
    let value = b.broker.get_blob(&mut b.conn, batch, &blob).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"the winner's"[..]));
    b.audit().await;
}
