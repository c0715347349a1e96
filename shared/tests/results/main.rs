//! The collector against a real server, with the keys written by hand as the scripts write them.

mod fleet;
mod in_order;

use std::collections::BTreeSet;
use std::time::Duration;

use fleet::Fleet;
use gristmill_shared::message::BlobRef;
use gristmill_shared::outcome::{Failure, Outcome, OutcomeKind};
use gristmill_shared::results::{Collected, CollectorStream, Hint, ResultsError};
use tokio::time::timeout;

/// Nothing here should take so long; a test that would hang fails instead.
const LONG: Duration = Duration::from_secs(60);

fn value(n: u8) -> Outcome {
    Outcome::Value(vec![n])
}

async fn next(stream: &mut CollectorStream) -> Option<Result<(u64, Collected), ResultsError>> {
    timeout(LONG, stream.next()).await.expect("the stream hangs")
}

async fn outcome(stream: &mut CollectorStream) -> (u64, Outcome) {
    match next(stream).await.expect("the stream has ended") {
        Ok((index, Collected::Outcome(outcome, _))) => (index, outcome),
        other => panic!("{other:?}"),
    }
}

fn of(collected: Collected) -> Outcome {
    match collected {
        Collected::Outcome(outcome, _) => outcome,
        Collected::Delivered => panic!("it was forgotten"),
    }
}

#[tokio::test]
async fn outcomes_come_in_the_order_of_settling_until_the_batch_has_finished() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    let mut stream = fleet.collector().stream(batch);
    fleet.settle(batch, 4, &[value(4), value(5)]).await;
    assert_eq!(outcome(&mut stream).await, (4, value(4)));
    assert_eq!(outcome(&mut stream).await, (5, value(5)));

    let waiting = tokio::spawn(async move { (outcome(&mut stream).await, stream) });
    fleet.subscribed(batch).await;
    let bad = Outcome::Bad(OutcomeKind::Failed, Failure::new("no", 1));
    fleet.settle(batch, 0, std::slice::from_ref(&bad)).await;
    let (first, mut stream) = waiting.await.unwrap();
    assert_eq!(first, (0, bad));

    // A bucket further on.
    fleet.settle(batch, 9000, &[value(9)]).await;
    fleet.finish(batch, 4).await;
    assert_eq!(outcome(&mut stream).await, (9000, value(9)));
    assert!(next(&mut stream).await.is_none());
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test]
async fn one_is_waited_for_and_comes_with_the_word() {
    let mut fleet = Fleet::start().await;
    for inline in [true, false] {
        let batch = fleet.open_single().await;
        let collector = fleet.collector();
        let waiting = tokio::spawn(async move { timeout(LONG, collector.task(batch.task(0))).await.unwrap() });
        fleet.subscribed(batch).await;
        fleet.settle_single(batch, &value(7), inline).await;
        assert_eq!(of(waiting.await.unwrap().unwrap()), value(7));
        // And once more, when it is there already.
        assert_eq!(of(fleet.collector().task(batch.task(0)).await.unwrap()), value(7));
        fleet.unsubscribed(batch).await;
    }
}

#[tokio::test]
async fn what_does_not_exist_is_said() {
    let mut fleet = Fleet::start().await;
    let unknown = gristmill_shared::BatchId::new();
    let error = fleet.collector().task(unknown.task(0)).await.unwrap_err();
    assert!(matches!(error, ResultsError::NoSuchBatch(batch) if batch == unknown), "{error}");
    let mut stream = fleet.collector().stream(unknown);
    assert!(matches!(next(&mut stream).await, Some(Err(ResultsError::NoSuchBatch(_)))));
    assert!(next(&mut stream).await.is_none());
    let one = fleet.open_single().await.task(1);
    let error = fleet.collector().task(one).await.unwrap_err();
    assert!(matches!(error, ResultsError::NoSuchTask(task) if task == one), "{error}");
}

#[tokio::test]
async fn one_task_of_several_is_waited_for_and_the_others_are_not_read() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    fleet.settle_bytes(batch, 0, 1, b"of no concern").await;
    let collector = fleet.collector();
    let waiting = tokio::spawn(async move { timeout(LONG, collector.task(batch.task(2))).await.unwrap() });
    fleet.subscribed(batch).await;
    fleet.settle(batch, 1, &[value(1), value(2)]).await;
    assert_eq!(of(waiting.await.unwrap().unwrap()), value(2));

    let (collector, beyond) = (fleet.collector(), batch.task(3));
    let waiting = tokio::spawn(async move { timeout(LONG, collector.task(beyond)).await.unwrap() });
    fleet.subscribed(batch).await;
    fleet.finish(batch, 3).await;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, ResultsError::NoSuchTask(task) if task == beyond), "{error}");

    // Several by name: whatever there is no task for is an error of its own, and the rest comes.
    let mut some = fleet.collector().stream(batch).only([2, 9, 1, 7]);
    for beyond in [7, 9] {
        let error = next(&mut some).await.unwrap().unwrap_err();
        assert!(matches!(error, ResultsError::NoSuchTask(task) if task == batch.task(beyond)), "{error}");
    }
    assert_eq!((outcome(&mut some).await, outcome(&mut some).await), ((1, value(1)), (2, value(2))));
    assert!(next(&mut some).await.is_none());
}

#[tokio::test]
async fn who_waits_for_what_expires_learns_of_it() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open_single().await;
    fleet.expire(batch, Duration::from_millis(300)).await;
    let error = timeout(LONG, fleet.collector().task(batch.task(0))).await.unwrap().unwrap_err();
    assert!(matches!(error, ResultsError::NoSuchBatch(gone) if gone == batch), "{error}");
    let batch = fleet.open_single().await;
    fleet.expire(batch, Duration::from_millis(300)).await;
    let error = timeout(LONG, fleet.collector().finished(batch)).await.unwrap().unwrap_err();
    assert!(matches!(error, ResultsError::NoSuchBatch(gone) if gone == batch), "{error}");
    let batch = fleet.open_single().await;
    fleet.expire(batch, Duration::from_millis(300)).await;
    let mut outcomes = fleet.collector().in_order(batch);
    let error = timeout(LONG, outcomes.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, ResultsError::NoSuchBatch(gone) if gone == batch), "{error}");
}

#[tokio::test]
async fn the_end_of_a_batch_is_waited_for_without_reading_its_outcomes() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    let collector = fleet.collector();
    let waiting = tokio::spawn(async move { timeout(LONG, collector.finished(batch)).await.unwrap() });
    fleet.subscribed(batch).await;
    fleet.settle_bytes(batch, 0, 1, b"of no concern").await;
    fleet.say(batch, b"s").await;
    assert!(!waiting.is_finished());
    fleet.finish(batch, 1).await;
    waiting.await.unwrap().unwrap();
    fleet.collector().finished(batch).await.unwrap();
    let unknown = gristmill_shared::BatchId::new();
    let error = fleet.collector().finished(unknown).await.unwrap_err();
    assert!(matches!(error, ResultsError::NoSuchBatch(batch) if batch == unknown), "{error}");
}

#[tokio::test]
async fn an_empty_batch_and_what_is_present() {
    let mut fleet = Fleet::start().await;
    let empty = fleet.open().await;
    assert!(next(&mut fleet.collector().present(empty)).await.is_none());
    fleet.finish(empty, 0).await;
    assert!(next(&mut fleet.collector().stream(empty)).await.is_none());

    let batch = fleet.open().await;
    fleet.settle(batch, 2, &[value(2)]).await;
    let mut present = fleet.collector().present(batch);
    assert_eq!(outcome(&mut present).await, (2, value(2)));
    assert!(next(&mut present).await.is_none(), "it does not wait");
}

#[tokio::test]
async fn nothing_comes_twice_and_the_forgotten_is_reported() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    fleet.settle(batch, 0, &[value(0)]).await;
    fleet.settle(batch, 1, &[value(1), value(2)]).await;
    // A revived task is recorded a second time.
    fleet.settle(batch, 0, &[value(0)]).await;
    fleet.settle(batch, 3, &[value(3)]).await;
    fleet.forget(batch, 1).await;
    fleet.finish(batch, 4).await;
    let mut stream = fleet.collector().stream(batch).remember_runs();
    assert_eq!(outcome(&mut stream).await, (0, value(0)));
    assert!(stream.take_forgettable().is_empty(), "it counts once the next was asked for");
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), (1, Collected::Delivered));
    let runs = stream.take_forgettable();
    assert_eq!((runs.len(), &runs[0].indices, runs[0].outputs.len()), (1, &(0..1), 0));
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), (2, Collected::Delivered));
    assert_eq!(outcome(&mut stream).await, (3, value(3)));
    assert!(next(&mut stream).await.is_none());
    assert_eq!(stream.delivered(), 4);
}

#[tokio::test]
async fn blobs_are_read_and_a_lost_one_concerns_its_task_only() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    let bytes = vec![7; 100_000];
    let there = BlobRef { name: "o0.c.1.1".into(), bytes: bytes.len() as u64 };
    let gone = BlobRef { name: "o1.c.1.1".into(), bytes: 3 };
    fleet.blob(batch, &there, &bytes).await;
    fleet.settle(batch, 0, &[Outcome::Blob(there)]).await;
    fleet.settle(batch, 1, &[Outcome::Blob(gone), value(2)]).await;
    fleet.settle_bytes(batch, 3, 1, b"rubbish").await;
    fleet.finish(batch, 4).await;
    let mut stream = fleet.collector().stream(batch);
    assert_eq!(outcome(&mut stream).await, (0, Outcome::Value(bytes)));
    let error = next(&mut stream).await.unwrap().unwrap_err();
    assert!(matches!(error, ResultsError::BlobGone(task) if task == batch.task(1)), "{error}");
    assert_eq!(outcome(&mut stream).await, (2, value(2)));
    let error = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(error.task(), Some(batch.task(3)), "{error}");
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test]
async fn missing_results_are_an_error_at_the_end() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    fleet.settle(batch, 0, &[value(0)]).await;
    fleet.finish(batch, 3).await;
    let mut stream = fleet.collector().stream(batch);
    assert_eq!(outcome(&mut stream).await, (0, value(0)));
    let error = next(&mut stream).await.unwrap().unwrap_err();
    assert!(matches!(error, ResultsError::Expired { missing: 2, .. }), "{error}");
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test]
async fn many_small_runs_come_in_slices() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    let mut stream = fleet.collector().stream(batch);
    let mut seen = BTreeSet::new();
    for part in 0..3u64 {
        for first in (part * 700..(part + 1) * 700).rev() {
            fleet.settle(batch, first * 2, &[value(1), value(2)]).await;
        }
        for _ in 0..1400 {
            assert!(seen.insert(outcome(&mut stream).await.0));
        }
    }
    fleet.finish(batch, 4200).await;
    assert!(next(&mut stream).await.is_none());
    assert_eq!(seen.len(), 4200);
}

#[tokio::test]
async fn a_subscription_that_was_cut_misses_nothing() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    let mut stream = fleet.collector().stream(batch);
    let collecting = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(item) = next(&mut stream).await {
            seen.push(item.unwrap().0);
        }
        seen
    });
    for round in 0..20 {
        fleet.subscribed(batch).await;
        fleet.settle(batch, round * 2, &[value(0)]).await;
        fleet.cut_subscriptions().await;
        // Told to nobody.
        fleet.settle_silently(batch, round * 2 + 1, &[value(1)]).await;
    }
    fleet.finish(batch, 40).await;
    assert_eq!(collecting.await.unwrap(), (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_restart_of_redis_misses_nothing() {
    let mut fleet = Fleet::start().await;
    let (batch, single) = (fleet.open().await, fleet.open_single().await);
    let mut stream = fleet.collector().stream(batch);
    fleet.settle(batch, 0, &[value(0)]).await;
    assert_eq!(outcome(&mut stream).await, (0, value(0)));
    let rest = tokio::spawn(async move {
        let rest = (outcome(&mut stream).await, outcome(&mut stream).await);
        assert!(next(&mut stream).await.is_none());
        rest
    });
    let collector = fleet.collector();
    let one = tokio::spawn(async move { timeout(LONG, collector.task(single.task(0))).await.unwrap() });
    fleet.subscribed(batch).await;
    fleet.subscribed(single).await;
    fleet.settle_silently(batch, 1, &[value(1)]).await;
    fleet.restart().await;
    fleet.settle_single(single, &value(9), false).await;
    fleet.settle(batch, 2, &[value(2)]).await;
    fleet.finish(batch, 3).await;
    assert_eq!(rest.await.unwrap(), ((1, value(1)), (2, value(2))));
    assert_eq!(of(one.await.unwrap().unwrap()), value(9));
}

#[tokio::test]
async fn a_rolled_back_list_is_read_again() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    let mut stream = fleet.collector().stream(batch);
    for first in [0, 1, 2] {
        fleet.settle(batch, first, &[value(first as u8)]).await;
        assert_eq!(outcome(&mut stream).await.0, first);
    }
    fleet.roll_back_runs(batch, 2).await;
    // Settled again, in another order.
    for first in [3, 2, 1] {
        fleet.settle(batch, first, &[value(first as u8)]).await;
    }
    fleet.finish(batch, 4).await;
    assert_eq!(outcome(&mut stream).await, (3, value(3)));
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test]
async fn what_redis_forgot_after_it_was_listed_is_not_taken_for_delivered() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    for first in 0..20 {
        fleet.settle(batch, first, &[value(first as u8)]).await;
    }
    let mut stream = fleet.collector().stream(batch);
    assert_eq!(outcome(&mut stream).await.0, 0, "all are listed, and the first few are read");
    // Redis loses the last two, and they are settled again as one run, where only the first is expected.
    fleet.roll_back_runs(batch, 2).await;
    fleet.forget(batch, 18).await;
    fleet.forget(batch, 19).await;
    fleet.settle(batch, 18, &[value(18), value(19)]).await;
    fleet.finish(batch, 20).await;
    for index in 1..20 {
        assert_eq!(outcome(&mut stream).await, (index, value(index as u8)));
    }
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test]
async fn a_future_that_is_dropped_loses_nothing() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    for first in 0..300 {
        fleet.settle(batch, first, &[value(0)]).await;
    }
    fleet.finish(batch, 300).await;
    let mut stream = fleet.collector().stream(batch);
    let mut seen = Vec::new();
    loop {
        // Polled once, then dropped; the yield lets the connection work.
        let polled = futures::future::FutureExt::now_or_never(stream.next());
        match polled {
            Some(None) => break,
            Some(Some(item)) => seen.push(item.unwrap().0),
            None => {
                if let Ok(item) = timeout(Duration::from_millis(5), stream.next()).await {
                    seen.extend(item.map(|item| item.unwrap().0));
                }
            }
        }
        if seen.len() == 300 {
            break;
        }
    }
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn subscriptions_are_counted_and_end_with_their_last_user() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    let hub = fleet.hub();
    let mut first = hub.subscribe(batch).await.unwrap();
    let second = hub.subscribe(batch).await.unwrap();
    drop(second);
    fleet.say(batch, b"s").await;
    assert_eq!(timeout(LONG, first.next()).await.unwrap(), Hint::Look);
    fleet.say(batch, b"oRUN").await;
    // A hint to look may come at any time: after a slow moment the connection is a new one.
    let word = async {
        loop {
            match first.next().await {
                Hint::Look => {}
                Hint::Outcome(run) => break run,
            }
        }
    };
    assert_eq!(timeout(LONG, word).await.unwrap(), b"RUN");
    drop(first);
    fleet.unsubscribed(batch).await;
    // Given up before it was confirmed.
    drop(timeout(Duration::ZERO, hub.subscribe(batch)).await);
    let other = fleet.open().await;
    let _other = hub.subscribe(other).await.unwrap();
    fleet.unsubscribed(batch).await;
}

#[tokio::test]
async fn many_batches_share_one_subscription_connection() {
    let mut fleet = Fleet::start().await;
    let mut waiting = tokio::task::JoinSet::new();
    let mut batches = Vec::new();
    for _ in 0..1000 {
        let (batch, collector) = (fleet.open_single().await, fleet.collector());
        waiting.spawn(async move { timeout(LONG, collector.task(batch.task(0))).await.unwrap().unwrap() });
        batches.push(batch);
    }
    for &batch in &batches {
        fleet.subscribed(batch).await;
    }
    assert_eq!(fleet.subscription_connections().await, 1);
    for &batch in &batches {
        fleet.settle_single(batch, &value(1), true).await;
    }
    assert!(waiting.join_all().await.into_iter().all(|collected| of(collected) == value(1)));
}
