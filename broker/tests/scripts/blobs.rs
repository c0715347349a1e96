use gristmill_shared::message::BlobRef;
use gristmill_shared::{BatchId, defaults};

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
