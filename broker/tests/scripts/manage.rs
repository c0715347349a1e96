use gristmill_broker::*;
use gristmill_shared::{BatchId, Lane};

use crate::fixture::*;

#[tokio::test]
async fn a_paused_queue_is_skipped_until_it_is_resumed() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[1]).await;
    b.rang("a").await;
    let a = queue("a");
    for _ in 0..2 {
        assert_eq!(b.broker.manage(&mut b.conn, &a, Wish::Pause, false).await.unwrap(), Managed::Done);
    }
    let mut c = b.join().await;
    assert!(b.claim(&mut c, &from(&["a"]), LOTS).await.messages.is_empty());
    let more = b.fill("a", Lane::Normal, &[1]).await;
    assert!(!b.rang("a").await, "nothing rings for a paused queue");
    assert_eq!(b.broker.manage(&mut b.conn, &a, Wish::Resume, false).await.unwrap(), Managed::Done);
    assert!(b.rang("a").await, "whoever sleeps must learn that there is work again");
    assert_eq!(parsed(&b.claim(&mut c, &from(&["a"]), LOTS).await), [m, more].concat());
    b.broker.manage(&mut b.conn, &a, Wish::Resume, false).await.unwrap();
    assert!(!b.rang("a").await, "nothing waits");
    b.audit().await;
}

#[tokio::test]
async fn a_limit_holds_until_it_is_lifted() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[1]).await;
    let limit = |limit| Wish::Limit(limit);
    b.broker.manage(&mut b.conn, &queue("a"), limit(Some(1)), false).await.unwrap();
    assert_eq!(b.broker.queue_stats(&mut b.conn, &queue("a")).await.unwrap().depth_limit, Some(1));
    let another = message(BatchId::new(), "a", Lane::Normal, 0, 1);
    let encoded = [another.encode().unwrap()];
    let call = first_call(&another, &encoded);
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::QueueFull { depth: 1, limit: 1 });
    b.broker.manage(&mut b.conn, &queue("a"), limit(None), false).await.unwrap();
    assert_eq!(b.broker.queue_stats(&mut b.conn, &queue("a")).await.unwrap().depth_limit, None);
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::Done { next_seq: 1 });
    b.audit().await;
}

#[tokio::test]
async fn a_queue_that_nobody_used_is_left_alone_unless_it_is_meant() {
    let mut b = Bench::start().await;
    let before = b.snapshot().await;
    for wish in [Wish::Pause, Wish::Resume, Wish::Limit(Some(7))] {
        assert_eq!(b.broker.manage(&mut b.conn, &queue("typo"), wish, false).await.unwrap(), Managed::UnknownQueue);
    }
    assert_eq!(b.snapshot().await, before);
    b.broker.manage(&mut b.conn, &queue("new"), Wish::Pause, true).await.unwrap();
    assert_eq!(b.broker.queue_names(&mut b.conn).await.unwrap(), [queue("new")]);
}
