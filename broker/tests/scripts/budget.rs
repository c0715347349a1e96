//! What the results of a batch may take in Redis.

use gristmill_broker::*;
use gristmill_shared::message::BlobRef;
use gristmill_shared::{BatchId, Certificate, DeathCause, Lane, Message, Outcome, OutcomeKind};

use crate::fixture::*;

/// A batch of messages of one task each, whose results may take so many bytes; its consumer holds the first ones.
async fn batch(tasks: u64, held: usize, seal: bool, result_bytes: u64) -> (Bench, Consumer, Vec<Message>) {
    let mut b = Bench::start().await;
    let id = BatchId::new();
    let messages: Vec<_> = (0..tasks).map(|i| message(id, "a", Lane::Normal, i, 1)).collect();
    let encoded: Vec<_> = messages.iter().map(|m| m.encode().unwrap()).collect();
    let call = Enqueue { seal, result_bytes, ..first_call(&messages[0], &encoded) };
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::Done { next_seq: 1 });
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), take(held)).await;
    (b, c, messages)
}

/// One task of a message ended with so large a value.
fn sized(message: &Message, bytes: usize) -> Settlement {
    let runs = vec![run(message, vec![Outcome::Value(vec![7; bytes])])];
    settlement(std::slice::from_ref(message), Ending { runs, ..Ending::default() })
}

async fn field(b: &mut Bench, batch: BatchId, name: &str) -> Option<String> {
    let key = b.keys().batch(batch);
    b.ask(&["HGET", &key, name]).await
}

async fn bytes(b: &mut Bench, batch: BatchId) -> u64 {
    field(b, batch, "result_bytes").await.map_or(0, |bytes| bytes.parse().unwrap())
}

async fn mark(b: &mut Bench, batch: BatchId) -> Option<String> {
    let key = b.keys().cancelled();
    b.ask(&["HGET", &key, &batch.to_string()]).await
}

async fn epoch(b: &mut Bench, c: &Consumer) -> u64 {
    match b.broker.renew(&mut b.conn, c.id, LEASE).await.unwrap() {
        Renewed::Yes { cancel_epoch } => cancel_epoch,
        Renewed::LeaseLost => panic!("the lease is lost"),
    }
}

#[tokio::test]
async fn nothing_more_is_started_of_a_batch_over_its_budget_and_what_runs_is_stored() {
    let (mut b, mut c, m) = batch(5, 2, true, 1_000).await;
    let id = m[0].header.batch;
    let before = epoch(&mut b, &c).await;
    b.settle(&mut c, &sized(&m[0], 2_000)).await;
    assert_eq!(field(&mut b, id, "stopped").await.as_deref(), Some("result_bytes"));
    assert_eq!(mark(&mut b, id).await.as_deref(), Some("-!1000"));
    assert!(epoch(&mut b, &c).await > before, "consumers must look at what they hold");
    let marks = b.broker.cancelled(&mut b.conn, &[id]).await.unwrap();
    assert_eq!(marks, [CancelMark::OverBudget(1_000, vec![])]);
    b.audit().await;
    let rest = b.claim(&mut c, &from(&["a"]), LOTS).await;
    assert_eq!(flags(&rest), [const { ClaimFlag::OverBudget(1_000) }; 3]);
    b.settle(&mut c, &sized(&m[1], 3_000)).await;
    let runs = m[2..].iter().map(|m| run(m, vec![bad(OutcomeKind::Cancelled)])).collect();
    b.settle(&mut c, &settlement(&m[2..], Ending { runs, ..Ending::default() })).await;
    let record = b.record(id).await.unwrap();
    assert_eq!((record.state, record.stopped), (BatchState::Finished, true));
    assert_eq!((record.count(OutcomeKind::Succeeded), record.count(OutcomeKind::Cancelled)), (2, 3));
    assert!(bytes(&mut b, id).await > 5_000);
    b.audit().await;
}

#[tokio::test]
async fn an_open_batch_over_its_budget_takes_no_more() {
    let (mut b, mut c, m) = batch(2, 2, false, 100).await;
    let id = m[0].header.batch;
    b.settle(&mut c, &sized(&m[0], 2_000)).await;
    assert_eq!(b.record(id).await.unwrap().state, BatchState::Sealed);
    let encoded = [message(id, "a", Lane::Normal, 2, 1).encode().unwrap()];
    let call = Enqueue { seq: 1, ..first_call(&m[0], &encoded) };
    assert_eq!(b.try_enqueue(&call).await.unwrap(), Enqueued::Sealed);
    b.settle(&mut c, &ok(&m[1..])).await;
    assert_eq!(b.record(id).await.unwrap().state, BatchState::Finished);
    b.audit().await;

    // The last outcome that it waited for.
    let (mut b, mut c, m) = batch(1, 1, false, 100).await;
    b.settle(&mut c, &sized(&m[0], 2_000)).await;
    assert_eq!(b.record(m[0].header.batch).await.unwrap().state, BatchState::Finished);
    b.audit().await;
}

#[tokio::test]
async fn a_batch_that_finishes_with_its_last_byte_is_not_stopped() {
    let (mut b, mut c, m) = batch(2, 2, true, 100).await;
    let id = m[0].header.batch;
    b.settle(&mut c, &ok(&m[..1])).await;
    b.settle(&mut c, &sized(&m[1], 2_000)).await;
    let record = b.record(id).await.unwrap();
    assert_eq!((record.state, record.stopped), (BatchState::Finished, false));
    assert_eq!(mark(&mut b, id).await, None);

    let one = b.fill_one("a").await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &sized(&one, 60_000)).await;
    assert_eq!(field(&mut b, one.header.batch, "result_bytes").await, None, "one task has a bound of its own");
    b.audit().await;
}

#[tokio::test]
async fn what_is_forgotten_makes_room_and_does_so_once() {
    let (mut b, mut c, m) = batch(3, 3, true, 100_000).await;
    let id = m[0].header.batch;
    b.settle(&mut c, &sized(&m[0], 1_000)).await;
    let small = bytes(&mut b, id).await;
    let name = format!("o1.{}.1.1", c.id);
    let output: BlobRef = b.broker.put_blob(&mut b.conn, id, &name, &[7; 5_000], LEASE).await.unwrap();
    let runs = vec![run(&m[1], vec![Outcome::Blob(output.clone())])];
    b.settle(&mut c, &settlement(&m[1..2], Ending { runs, ..Ending::default() })).await;
    let both = bytes(&mut b, id).await;
    assert!((1_000..1_100).contains(&small) && both > small + 5_000, "{small} {both}");
    for _ in 0..2 {
        b.broker.forget(&mut b.conn, id, &[1], std::slice::from_ref(&output)).await.unwrap();
        assert_eq!(bytes(&mut b, id).await, small, "its run and its blob are gone, and counted once");
    }
    let part = b.broker.blob_keys(id, &output).remove(0);
    assert!(!b.ask::<bool>(&["EXISTS", &part]).await);
    b.broker.forget(&mut b.conn, id, &[0, 1, 2], &[]).await.unwrap();
    assert_eq!(bytes(&mut b, id).await, 0);
    let before = b.snapshot().await;
    b.broker.forget(&mut b.conn, BatchId::new(), &[0], &[]).await.unwrap();
    assert_eq!(b.snapshot().await, before, "no hash for a batch that is gone");
    b.settle(&mut c, &ok(&m[2..])).await;
    b.audit().await;
}

#[tokio::test]
async fn the_marks_of_a_cancel_and_of_a_budget_stand_together() {
    for (cancel, expected) in
        [(None, "*"), (Some(&[3u64][..]), "-!100,3"), (Some(&[4, 2]), "-!100,4,2"), (Some(&[]), "-!100")]
    {
        let (mut b, mut c, m) = batch(5, 1, true, 100).await;
        let id = m[0].header.batch;
        b.broker.cancel(&mut b.conn, id, cancel).await.unwrap();
        b.settle(&mut c, &sized(&m[0], 2_000)).await;
        assert_eq!(mark(&mut b, id).await.as_deref(), Some(expected));
        b.audit().await;
    }
    let (mut b, mut c, m) = batch(5, 1, true, 100).await;
    let id = m[0].header.batch;
    b.settle(&mut c, &sized(&m[0], 2_000)).await;
    for _ in 0..2 {
        b.broker.cancel(&mut b.conn, id, Some(&[3, 4])).await.unwrap();
        b.broker.cancel_unstarted(&mut b.conn, id).await.unwrap();
        assert_eq!(mark(&mut b, id).await.as_deref(), Some("-!100,3,4"), "a reason stays, and is no index");
    }
    let marks = b.broker.cancelled(&mut b.conn, &[id]).await.unwrap();
    assert_eq!(marks, [CancelMark::OverBudget(100, vec![3, 4])]);
    b.broker.cancel(&mut b.conn, id, None).await.unwrap();
    assert_eq!(mark(&mut b, id).await.as_deref(), Some("*"));
    b.audit().await;
}

#[tokio::test]
async fn what_a_judge_records_counts_as_well() {
    let (mut b, c, m) = batch(3, 1, true, 10).await;
    let certificate =
        Certificate { item: Some(0), ..Certificate::unseen(DeathCause::TimeLimit, "c", "its time is over") };
    let why = DeathReport::Died { position: 0, certificate };
    b.broker.reclaim(&mut b.conn, c.id, &why, &[queue("a")]).await.unwrap();
    let field = format!("{}:0", c.id);
    let stored = b.broker.suspect(&mut b.conn, &field).await.unwrap().unwrap();
    let suspect = gristmill_shared::suspect::Suspect::parse(&stored).unwrap();
    let runs = vec![run(&m[0], vec![bad(OutcomeKind::TimedOut)])];
    let ending = Ending { runs, ..Ending::default() };
    assert!(b.broker.judge(&mut b.conn, &field, &suspect, &ending).await.unwrap());
    assert_eq!(mark(&mut b, m[0].header.batch).await.as_deref(), Some("-!10"));
    b.audit().await;
}
