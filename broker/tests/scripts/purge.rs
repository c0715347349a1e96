use gristmill_broker::*;
use gristmill_shared::{Lane, Message, OutcomeKind};

use crate::fixture::*;

async fn purge(b: &mut Bench, messages: &[Message]) -> Purged {
    let encoded: Vec<_> = messages.iter().map(|m| m.encode().unwrap()).collect();
    b.broker.purge(&mut b.conn, &queue("a"), Lane::Normal, &encoded).await.unwrap()
}

#[tokio::test]
async fn exactly_the_first_messages_are_recorded_as_cancelled() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[2, 3]).await;
    let one = b.fill_one("a").await;
    let last = b.fill("a", Lane::Normal, &[1]).await;
    let first = [m.clone(), vec![one.clone()]].concat();
    assert_eq!(purge(&mut b, &first).await, Purged::Done);
    assert_eq!(b.counters("a").await, [1, 0, 0, 0, 0]);
    for batch in [m[0].header.batch, one.header.batch] {
        let record = b.record(batch).await.unwrap();
        assert_eq!((record.state, record.count(OutcomeKind::Cancelled)), (BatchState::Finished, record.tasks));
    }
    b.audit().await;
    let before = b.snapshot().await;
    assert_eq!(purge(&mut b, &first).await, Purged::Changed, "they are gone already");
    assert_eq!(b.snapshot().await, before);
    assert_eq!(purge(&mut b, &last).await, Purged::Done);
    b.audit().await;
}

#[tokio::test]
async fn a_lane_that_begins_otherwise_is_left_alone() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[1, 1, 1]).await;
    let before = b.snapshot().await;
    let swapped = [m[1].clone(), m[0].clone()];
    let more = [&m[..], &m[..1]].concat();
    for wrong in [&m[1..], &swapped, &more] {
        assert_eq!(purge(&mut b, wrong).await, Purged::Changed);
        assert_eq!(b.snapshot().await, before);
    }
    assert_eq!(purge(&mut b, &[]).await, Purged::Done, "nothing is there to remove");
    assert_eq!(b.snapshot().await, before);
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), take(1)).await;
    assert_eq!(purge(&mut b, &m[..1]).await, Purged::Changed, "a consumer was faster");
    b.audit().await;
}

#[tokio::test]
async fn many_messages_at_once() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[1; 1000]).await;
    assert_eq!(purge(&mut b, &m).await, Purged::Done);
    assert_eq!(b.record(m[0].header.batch).await.unwrap().state, BatchState::Finished);
    b.audit().await;
}
