use gristmill_broker::*;
use gristmill_shared::{BatchId, Lane};

use crate::fixture::*;

#[tokio::test]
async fn results_go_and_counters_and_runs_stay() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[4096, 4096, 2]).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &ok(&m)).await;
    let batch = m[0].header.batch;
    let (zero, one, runs) = (b.keys().results(batch, 0), b.keys().results(batch, 1), b.keys().runs(batch));
    b.broker.forget(&mut b.conn, batch, &[4096, 8192, 7], &[]).await.unwrap();
    assert_eq!(b.ask::<Vec<String>>(&["HKEYS", &zero]).await, ["0"]);
    assert_eq!(b.ask::<u64>(&["EXISTS", &one]).await, 0);
    assert_eq!(b.ask::<u64>(&["LLEN", &runs]).await, 3);
    let record = b.record(batch).await.unwrap();
    assert_eq!((record.state, record.ended()), (BatchState::Finished, 8194));
    b.audit().await;
    let before = b.snapshot().await;
    b.broker.forget(&mut b.conn, batch, &[4096, 8192], &[]).await.unwrap();
    b.broker.forget(&mut b.conn, batch, &[], &[]).await.unwrap();
    b.broker.forget(&mut b.conn, BatchId::new(), &[0], &[]).await.unwrap();
    assert_eq!(b.snapshot().await, before);
}

#[tokio::test]
async fn a_run_that_is_another_by_now_stays() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[3, 2]).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &ok(&m)).await;
    let batch = m[0].header.batch;
    let results = b.keys().results(batch, 0);
    // The reader had 2 tasks in each run; the first has 3 since Redis came back.
    b.broker.forget_runs(&mut b.conn, batch, &[0..2, 3..5, 9..11], &[]).await.unwrap();
    assert_eq!(b.ask::<Vec<String>>(&["HKEYS", &results]).await, ["0"]);
    b.broker.forget_runs(&mut b.conn, batch, std::slice::from_ref(&(0..3)), &[]).await.unwrap();
    assert_eq!(b.ask::<u64>(&["EXISTS", &results]).await, 0);
    b.audit().await;
}

#[tokio::test]
async fn a_batch_of_one_goes_as_a_whole_once_it_has_ended() {
    let mut b = Bench::start().await;
    let m = b.fill_one("a").await;
    let batch = m.header.batch;
    assert!(!b.broker.forget_single(&mut b.conn, batch, &[]).await.unwrap(), "it waits");
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    assert!(!b.broker.forget_single(&mut b.conn, batch, &[]).await.unwrap(), "it runs");
    b.settle(&mut c, &ok(std::slice::from_ref(&m))).await;
    b.audit().await;
    assert!(b.broker.forget_single(&mut b.conn, batch, &[]).await.unwrap());
    assert!(b.record(batch).await.is_none());
    b.audit().await;
    assert!(!b.broker.forget_single(&mut b.conn, batch, &[]).await.unwrap());
}

#[tokio::test]
async fn any_number_can_be_forgotten() {
    let mut b = Bench::start().await;
    let batch = BatchId::new();
    let key = b.keys().results(batch, 0);
    let fill = "for i = 0, 8191 do redis.call('HSET', KEYS[1], i, 'x') end";
    b.ask::<()>(&["EVAL", fill, "1", &key]).await;
    let firsts: Vec<u64> = (0..8192).collect();
    b.broker.forget(&mut b.conn, batch, &firsts, &[]).await.unwrap();
    assert_eq!(b.ask::<u64>(&["EXISTS", &key]).await, 0);
}
