use std::time::Duration;

use gristmill_broker::*;
use gristmill_shared::{ConsumerId, Lane};

use crate::fixture::*;

#[tokio::test]
async fn an_id_works_once() {
    let mut b = Bench::start().await;
    let mut c = b.join().await;
    assert!(b.broker.join(&mut b.conn, c.id, "w1", LEASE).await.unwrap(), "its reply was lost");
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    let before = b.snapshot().await;
    assert!(!b.broker.join(&mut b.conn, c.id, "w1", LEASE).await.unwrap());
    assert_eq!(b.snapshot().await, before);
    assert_eq!(b.broker.live_consumers(&mut b.conn).await.unwrap(), 1);
    b.audit().await;
}

#[tokio::test]
async fn a_renewal_extends_and_tells_of_cancels() {
    let mut b = Bench::start().await;
    let (c, m) = (b.join().await, b.fill("a", Lane::Normal, &[1]).await);
    b.expire(c.id).await;
    let long = Duration::from_secs(60);
    assert_eq!(b.broker.renew(&mut b.conn, c.id, long).await.unwrap(), Renewed::Yes { cancel_epoch: 0 });
    let now = b.now().await;
    assert!(b.deadline(c.id).await.unwrap() > now + 59_000);
    b.broker.cancel(&mut b.conn, m[0].header.batch, None).await.unwrap();
    assert_eq!(b.broker.renew(&mut b.conn, c.id, LEASE).await.unwrap(), Renewed::Yes { cancel_epoch: 1 });
    b.broker.reclaim(&mut b.conn, c.id, &DeathReport::Idle, &[]).await.unwrap();
    let before = b.snapshot().await;
    assert_eq!(b.broker.renew(&mut b.conn, c.id, LEASE).await.unwrap(), Renewed::LeaseLost);
    assert_eq!(b.snapshot().await, before, "a reclaimed lease does not come back");
}

#[tokio::test]
async fn nobody_leaves_with_messages_in_flight() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[1]).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    let before = b.snapshot().await;
    assert_eq!(b.broker.leave(&mut b.conn, c.id).await.unwrap(), Left::InFlight);
    assert_eq!(b.snapshot().await, before);
    b.settle(&mut c, &ok(&m)).await;
    assert_eq!(b.broker.leave(&mut b.conn, c.id).await.unwrap(), Left::Done);
    assert_eq!(b.broker.leave(&mut b.conn, c.id).await.unwrap(), Left::LeaseLost);
    assert_eq!(b.broker.leave(&mut b.conn, ConsumerId::new()).await.unwrap(), Left::LeaseLost);
    let left: Vec<String> = b.ask(&["KEYS", &format!("*{}*", c.id)]).await;
    assert_eq!(left, [""; 0]);
    b.audit().await;
}

#[tokio::test]
async fn a_doorbell_wakes_one_who_waits() {
    let mut b = Bench::start().await;
    let mut waiting = connect(&b.redis).await;
    let (broker, queues) = (b.broker.clone(), [queue("b"), queue("a")]);
    b.fill("a", Lane::Normal, &[1]).await;
    let second = Duration::from_secs(1);
    assert!(broker.wait_doorbell(&mut waiting, &queues, second).await.unwrap());
    let blink = Duration::from_millis(20);
    assert!(!broker.wait_doorbell(&mut waiting, &queues, blink).await.unwrap());
    let bell = b.keys().doorbell(&queue("a"));
    b.rang("a").await;
    assert_eq!(b.ask::<u64>(&["EXISTS", &bell]).await, 0);
}

#[tokio::test]
async fn workers_are_found_through_their_consumers() {
    let mut b = Bench::start().await;
    assert!(b.broker.workers(&mut b.conn).await.unwrap().is_empty(), "nobody is there");
    b.join().await;
    b.join().await;
    assert!(b.broker.workers(&mut b.conn).await.unwrap().is_empty(), "nobody has published");
    let fields = [("host".to_owned(), "x".to_owned())];
    b.broker.publish_worker(&mut b.conn, "w1", &fields, LEASE).await.unwrap();
    let workers = b.broker.workers(&mut b.conn).await.unwrap();
    assert_eq!((workers.len(), workers[0].0.as_str(), workers[0].1["host"].as_str()), (1, "w1", "x"));
}
