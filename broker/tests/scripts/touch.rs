use gristmill_shared::{BatchId, Lane};

use crate::fixture::*;

#[tokio::test]
async fn a_touch_notes_the_time_and_creates_nothing() {
    let mut b = Bench::start().await;
    let batch = b.fill("a", Lane::Normal, &[1]).await[0].header.batch;
    let (now, before) = (b.now().await, b.snapshot().await);
    b.broker.touch(&mut b.conn, &[BatchId::new()]).await.unwrap();
    b.broker.touch(&mut b.conn, &[]).await.unwrap();
    assert_eq!(b.snapshot().await, before);
    b.set(batch, "touched_at_ms", 1).await;
    b.broker.touch(&mut b.conn, &[BatchId::new(), batch]).await.unwrap();
    let key = b.keys().batch(batch);
    assert!(b.ask::<u64>(&["HGET", &key, "touched_at_ms"]).await >= now);
    assert_eq!(b.ask::<i64>(&["PTTL", &key]).await, -1);
}

#[tokio::test]
async fn the_life_of_a_batch_of_one_is_extended_and_never_shortened() {
    let mut b = Bench::start().await;
    let one = b.fill_one("a").await;
    let key = b.keys().batch(one.header.batch);
    for (ttl, expected) in [(1_000, DAY_MS + 600_000), (9 * DAY_MS, 9 * DAY_MS)] {
        b.ask::<()>(&["PEXPIRE", &key, &ttl.to_string()]).await;
        b.broker.touch(&mut b.conn, &[one.header.batch]).await.unwrap();
        let left = b.ask::<u64>(&["PTTL", &key]).await;
        assert!(left > expected - 10_000 && left <= expected, "{left}");
    }
    b.set(one.header.batch, "state", "finished").await;
    b.ask::<()>(&["PEXPIRE", &key, "60000"]).await;
    b.broker.touch(&mut b.conn, &[one.header.batch]).await.unwrap();
    assert!(b.ask::<u64>(&["PTTL", &key]).await <= 60_000, "the end of a finished one is fixed");
}
