use gristmill_broker::fsck::Repaired;
use gristmill_shared::Lane;

use crate::fixture::*;

#[tokio::test]
async fn one_copy_of_a_message_goes_with_its_count() {
    let mut b = Bench::start().await;
    let message = b.fill("a", Lane::Normal, &[3]).await.remove(0).encode().unwrap();
    let lane = b.keys().ready(&queue("a"), Lane::Normal);
    b.ask_bytes(&[b"RPUSH", lane.as_bytes(), &message]).await;
    let counter = b.keys().queue(&queue("a"));
    b.ask::<()>(&["HINCRBY", &counter, "ready_tasks", "3"]).await;
    let (broker, a) = (b.broker.clone(), queue("a"));
    let weed = async |b: &mut Bench| broker.weed(&mut b.conn, &lane, false, &a, "ready_tasks", &message).await.unwrap();
    assert_eq!(weed(&mut b).await, Repaired::Done);
    assert_eq!(b.counters("a").await, [3, 0, 0, 0, 0]);
    b.audit().await;
    assert_eq!(weed(&mut b).await, Repaired::Done);
    assert_eq!(weed(&mut b).await, Repaired::Gone);
    assert_eq!(b.counters("a").await, [0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn what_is_no_message_becomes_a_dead_letter_and_was_never_counted() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[1]).await;
    let a = queue("a");
    let (lane, later) = (b.keys().ready(&a, Lane::Normal), b.keys().scheduled(&a));
    b.ask::<()>(&["LPUSH", &lane, "rubbish"]).await;
    b.ask::<()>(&["ZADD", &later, "7", "other rubbish"]).await;
    let broker = b.broker.clone();
    for (key, zset, bytes) in [(&lane, false, &b"rubbish"[..]), (&later, true, b"other rubbish")] {
        assert_eq!(broker.weed(&mut b.conn, key, zset, &a, "ready_tasks", bytes).await.unwrap(), Repaired::Done);
    }
    assert_eq!(b.counters("a").await, [1, 0, 0, 0, 2]);
    b.audit().await;
}
