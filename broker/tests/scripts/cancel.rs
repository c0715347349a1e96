use gristmill_broker::*;
use gristmill_shared::{BatchId, Lane, OutcomeKind};

use crate::fixture::*;

async fn cancel(b: &mut Bench, batch: BatchId, indices: Option<&[u64]>) -> Cancelled {
    b.broker.cancel(&mut b.conn, batch, indices).await.unwrap()
}

async fn mark(b: &mut Bench, batch: BatchId) -> CancelMark {
    b.broker.cancelled(&mut b.conn, &[batch]).await.unwrap().remove(0)
}

#[tokio::test]
async fn tasks_are_marked_once_each() {
    let mut b = Bench::start().await;
    let batch = b.fill("a", Lane::Normal, &[10]).await[0].header.batch;
    let mut listener = b.listen(batch).await;
    assert_eq!(mark(&mut b, batch).await, CancelMark::None);
    assert_eq!(cancel(&mut b, batch, Some(&[])).await, Cancelled::Done);
    for _ in 0..2 {
        assert_eq!(cancel(&mut b, batch, Some(&[3, 1])).await, Cancelled::Done);
        assert_eq!(mark(&mut b, batch).await, CancelMark::Tasks(vec![3, 1]));
        assert_eq!(listener.next(), b"s");
    }
    cancel(&mut b, batch, Some(&[9, 1])).await;
    assert_eq!(mark(&mut b, batch).await, CancelMark::Tasks(vec![3, 1, 9]));
    let before = b.snapshot().await;
    assert_eq!(cancel(&mut b, batch, Some(&[2, 10])).await, Cancelled::NoSuchTask(10));
    assert_eq!(b.snapshot().await, before);
    assert_eq!(b.record(batch).await.unwrap().cancelled_at_ms, None);
    cancel(&mut b, batch, None).await;
    cancel(&mut b, batch, Some(&[2])).await;
    assert_eq!(mark(&mut b, batch).await, CancelMark::All);
    b.audit().await;
}

#[tokio::test]
async fn too_many_marks_are_refused() {
    let mut b = Bench::start().await;
    let batch = b.fill("a", Lane::Normal, &[4096; 10]).await[0].header.batch;
    let all: Vec<u64> = (0..40_000).collect();
    let before = b.snapshot().await;
    assert_eq!(cancel(&mut b, batch, Some(&all)).await, Cancelled::TooMany);
    assert_eq!(b.snapshot().await, before);
    assert_eq!(cancel(&mut b, batch, Some(&all[..10_000])).await, Cancelled::Done);
}

#[tokio::test]
async fn a_whole_batch_is_sealed_and_its_messages_settled_unrun() {
    let mut b = Bench::start().await;
    let m = message(BatchId::new(), "a", Lane::Normal, 0, 2);
    let batch = m.header.batch;
    b.put(std::slice::from_ref(&m), false).await;
    assert_eq!(cancel(&mut b, batch, None).await, Cancelled::Done);
    let record = b.record(batch).await.unwrap();
    assert_eq!((record.state, record.total), (BatchState::Sealed, Some(2)));
    assert!(record.cancelled_at_ms.is_some());
    let call = Enqueue { seq: 1, ..first_call(&m, &[]) };
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::Sealed);
    let mut c = b.join().await;
    assert_eq!(flags(&b.claim(&mut c, &from(&["a"]), LOTS).await), [ClaimFlag::Cancelled]);
    let runs = vec![run(&m, vec![bad(OutcomeKind::Cancelled); 2])];
    b.settle(&mut c, &settlement(std::slice::from_ref(&m), Ending { runs, ..Ending::default() })).await;
    assert_eq!(b.record(batch).await.unwrap().state, BatchState::Finished);
    b.audit().await;
    let before = b.snapshot().await;
    assert_eq!(cancel(&mut b, batch, None).await, Cancelled::AlreadyFinished);
    assert_eq!(cancel(&mut b, BatchId::new(), None).await, Cancelled::NoSuchBatch);
    assert_eq!(b.snapshot().await, before);
}

#[tokio::test]
async fn an_open_batch_whose_tasks_have_ended_finishes() {
    let mut b = Bench::start().await;
    let m = message(BatchId::new(), "a", Lane::Normal, 0, 2);
    b.put(std::slice::from_ref(&m), false).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &ok(std::slice::from_ref(&m))).await;
    let mut listener = b.listen(m.header.batch).await;
    assert_eq!(cancel(&mut b, m.header.batch, None).await, Cancelled::Done);
    assert_eq!(listener.next(), b"f");
    assert_eq!(b.record(m.header.batch).await.unwrap().state, BatchState::Finished);
    b.audit().await;
}

#[tokio::test]
async fn one_task_of_a_batch_of_one_is_the_whole() {
    let mut b = Bench::start().await;
    let one = b.fill_one("a").await;
    assert_eq!(cancel(&mut b, one.header.batch, Some(&[0])).await, Cancelled::Done);
    assert_eq!(mark(&mut b, one.header.batch).await, CancelMark::All);
    b.audit().await;
}

#[tokio::test]
async fn what_has_not_started_is_flagged_and_the_stronger_mark_stays() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[2, 2]).await;
    let batch = m[0].header.batch;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), take(1)).await;
    for _ in 0..2 {
        assert_eq!(b.broker.cancel_unstarted(&mut b.conn, batch).await.unwrap(), Cancelled::Done);
        assert_eq!(mark(&mut b, batch).await, CancelMark::Unstarted(vec![]));
    }
    cancel(&mut b, batch, Some(&[1])).await;
    assert_eq!(mark(&mut b, batch).await, CancelMark::Unstarted(vec![1]));
    assert_eq!(flags(&b.claim(&mut c, &from(&["a"]), LOTS).await), [ClaimFlag::Cancelled]);
    b.broker.cancel_unstarted(&mut b.conn, batch).await.unwrap();
    assert_eq!(mark(&mut b, batch).await, CancelMark::Unstarted(vec![1]));
    cancel(&mut b, batch, None).await;
    b.broker.cancel_unstarted(&mut b.conn, batch).await.unwrap();
    assert_eq!(mark(&mut b, batch).await, CancelMark::All);
    b.audit().await;
}

#[tokio::test]
async fn tasks_that_were_cancelled_one_by_one_stay_so() {
    let mut b = Bench::start().await;
    let m = message(BatchId::new(), "a", Lane::Normal, 0, 4);
    b.put(std::slice::from_ref(&m), false).await;
    let batch = m.header.batch;
    cancel(&mut b, batch, Some(&[2])).await;
    b.broker.cancel_unstarted(&mut b.conn, batch).await.unwrap();
    assert_eq!(mark(&mut b, batch).await, CancelMark::Unstarted(vec![2]));
    let record = b.record(batch).await.unwrap();
    assert_eq!((record.state, record.total), (BatchState::Sealed, Some(4)));
    b.audit().await;
}
