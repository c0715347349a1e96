//! Whole workers against a private Redis: every way in which a task can end.

mod agent;
mod deaths;
mod outages;
mod rig;

use std::time::{Duration, Instant};

use gristmill_broker::Cancelled;
use gristmill_shared::message::TaskOptions;
use gristmill_shared::{Outcome, OutcomeKind, codec};
use rig::{Rig, Submit, count};

fn value<T: serde::de::DeserializeOwned>(outcome: &Outcome) -> T {
    match outcome {
        Outcome::Value(bytes) => codec::decode(bytes).unwrap(),
        other => panic!("no value: {other:?}"),
    }
}

#[tokio::test]
async fn chunks_of_short_tasks_all_succeed() {
    let mut rig = Rig::start(2).await;
    let args: Vec<i64> = (0..20_000).collect();
    let batch = rig.submit(&Submit { per_message: 500, ..Submit::to("square") }, &args).await;
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 20_000);
    let outcomes = rig.outcomes(batch).await;
    assert_eq!(value::<i64>(&outcomes[19_999]), 19_999 * 19_999);
    rig.nothing_left().await;
}

#[tokio::test]
async fn single_tasks_come_one_after_another() {
    let mut rig = Rig::start(1).await;
    for n in 0..20i64 {
        let batch = rig.submit(&Submit::to("square"), &[n]).await;
        assert_eq!(value::<i64>(&rig.outcome(batch).await), n * n);
    }
}

#[tokio::test]
async fn failures_are_tried_again_and_then_buried() {
    let mut rig = Rig::start(2).await;
    let options = TaskOptions { retries: Some(2), backoff_ms: Some(10), ..TaskOptions::default() };
    let what = Submit { per_message: 3, options, ..Submit::to("fail") };
    let batch = rig.submit(&what, &[("a", 0), ("b", 2), ("c", 9)]).await;
    let record = rig.finished(batch).await;
    assert_eq!((count(&record, OutcomeKind::Succeeded), count(&record, OutcomeKind::Failed)), (2, 1));
    let outcomes = rig.outcomes(batch).await;
    assert_eq!(value::<u16>(&outcomes[1]), 3);
    let Outcome::Bad(OutcomeKind::Failed, failure) = &outcomes[2] else { panic!("it fails") };
    assert_eq!((failure.message.as_str(), failure.attempt), ("c", 3));
    rig.nothing_left().await;
    assert_eq!(rig.stats().await.dead_tasks, 1);
}

#[tokio::test]
async fn outputs_that_nobody_wants_are_not_stored() {
    let mut rig = Rig::start(1).await;
    let options = TaskOptions { ignore_result: Some(true), ..TaskOptions::default() };
    let what = Submit { per_message: 2, options, ..Submit::to("fail") };
    let batch = rig.submit(&what, &[("a", 0), ("b", 9)]).await;
    let record = rig.finished(batch).await;
    assert_eq!((count(&record, OutcomeKind::Succeeded), count(&record, OutcomeKind::Failed)), (1, 1));
    let outcomes = rig.outcomes(batch).await;
    assert_eq!(outcomes[0], Outcome::Value(Vec::new()));
    let Outcome::Bad(OutcomeKind::Failed, failure) = &outcomes[1] else { panic!("it fails") };
    assert_eq!(failure.message, "b", "how a task failed is told all the same");

    // Nor does a large one become a blob.
    let large = Submit { options: what.options.clone(), blob: true, ..Submit::to("echo") };
    let batch = rig.submit(&large, &["x".repeat(100_000)]).await;
    assert_eq!(rig.outcome(batch).await, Outcome::Value(Vec::new()));
    let blobs: Vec<String> = redis::cmd("KEYS").arg("{gm}:blob:*:o*").query_async(&mut rig.conn).await.unwrap();
    assert!(blobs.is_empty(), "{blobs:?}");
    let kept = rig.submit(&Submit { blob: true, ..Submit::to("echo") }, &["x".repeat(100_000)]).await;
    assert!(matches!(rig.outcome(kept).await, Outcome::Blob(_)), "without the option it does");
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_text() {
    let mut rig = Rig::start(1).await;
    let batch = rig.submit(&Submit::to("crash"), &["panic"]).await;
    let outcome = rig.outcome(batch).await;
    let Outcome::Bad(OutcomeKind::Failed, failure) = &outcome else { panic!("it fails: {outcome:?}") };
    assert!(failure.message.contains("a panic, as asked for"), "{}", failure.message);
}

#[tokio::test]
async fn a_time_limit_ends_the_process_and_nobody_else() {
    let mut rig = Rig::start(2).await;
    let options = TaskOptions { time_limit_ms: Some(300), ..TaskOptions::default() };
    let what = Submit { per_message: 4, options, ..Submit::to("spin") };
    let begun = Instant::now();
    let batch = rig.submit(&what, &[1, 60_000, 1, 1]).await;
    let record = rig.finished(batch).await;
    assert_eq!((count(&record, OutcomeKind::Succeeded), count(&record, OutcomeKind::TimedOut)), (3, 1));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_cancel_stops_what_runs_and_what_waits() {
    let mut rig = Rig::start(3).await;
    let deaf = rig.submit(&Submit::to("spin"), &[60_000, 60_000, 60_000, 60_000]).await;
    rig.running(3).await;
    assert_eq!(rig.broker.cancel(&mut rig.conn, deaf, None).await.unwrap(), Cancelled::Done);
    let record = rig.finished(deaf).await;
    assert_eq!(count(&record, OutcomeKind::Cancelled), 4);
    let polite = rig.submit(&Submit { per_message: 3, ..Submit::to("sleep") }, &[30.0, 30.0, 0.0]).await;
    rig.until(polite, |record| record.ended() == 1).await;
    assert_eq!(rig.broker.cancel(&mut rig.conn, polite, Some(&[0, 1])).await.unwrap(), Cancelled::Done);
    let record = rig.finished(polite).await;
    assert_eq!((count(&record, OutcomeKind::Cancelled), count(&record, OutcomeKind::Succeeded)), (2, 1));
    rig.nothing_left().await;
}

#[tokio::test]
async fn nothing_waits_behind_a_long_task() {
    let mut rig = Rig::start(4).await;
    // Measured as short, so that several are claimed ahead.
    let warm_up =
        rig.submit(&Submit { per_message: 50, ..Submit::to("square") }, &(0..1_000i64).collect::<Vec<_>>()).await;
    rig.finished(warm_up).await;
    let begun = Instant::now();
    let batch = rig.submit(&Submit { per_message: 8, ..Submit::to("sleep") }, &[0.5; 8]).await;
    rig.finished(batch).await;
    assert!(begun.elapsed() < Duration::from_millis(2_000), "{:?}", begun.elapsed());
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_busy_consumer_takes_no_ring_from_a_free_one() {
    let mut rig = Rig::start(2).await;
    // Free, then busy, several times: whoever waits at the bells when it becomes busy would take a ring with it.
    let mut waited = Vec::new();
    for _ in 0..6 {
        let busy = rig.submit(&Submit::to("sleep"), &[1.2]).await;
        rig.running(1).await;
        for n in 0..15i64 {
            let begun = Instant::now();
            let batch = rig.submit(&Submit::to("square"), &[n]).await;
            rig.outcome(batch).await;
            waited.push(begun.elapsed());
        }
        rig.outcome(busy).await;
    }
    // A tick heals a lost ring, but only within a second.
    let late = waited.iter().filter(|&&waited| waited > Duration::from_millis(150)).count();
    assert_eq!(late, 0, "{waited:?}");
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_gives_back_the_rest() {
    let mut rig = Rig::start(2).await;
    let batch = rig.submit(&Submit::to("sleep"), &[0.6; 10]).await;
    rig.running(2).await;
    assert_eq!(rig.drain().code(), Some(0));
    // One that was claimed may not have begun.
    let ended = count(&rig.record(batch).await, OutcomeKind::Succeeded);
    assert!(ended <= 2, "{ended}");
    let stats = rig.stats().await;
    assert_eq!((stats.ready_tasks, stats.running_tasks), (10 - ended, 0));
    let leases: u64 = redis::cmd("ZCARD").arg(rig.broker.keys().leases()).query_async(&mut rig.conn).await.unwrap();
    assert_eq!(leases, 0);
}

#[tokio::test]
async fn what_outlasts_the_grace_goes_back_uncharged() {
    let mut rig = Rig::without_worker().await;
    rig.start_worker(1, &["--grace", "1s"]);
    let batch = rig.submit(&Submit { per_message: 2, ..Submit::to("spin") }, &[20_000, 20_000]).await;
    rig.running(1).await;
    assert_eq!(rig.drain().code(), Some(0));
    let stats = rig.stats().await;
    assert_eq!((stats.ready_tasks, stats.running_tasks), (2, 0));
    assert_eq!(rig.record(batch).await.ended(), 0);
}

#[tokio::test]
async fn unknown_kernels_are_parked() {
    let mut rig = Rig::start(1).await;
    rig.submit(&Submit { per_message: 2, ..Submit::to("nobody.knows") }, &[1, 2, 3]).await;
    let begun = Instant::now();
    while rig.stats().await.parked_tasks != 3 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rig.nothing_left().await;
}

#[tokio::test]
async fn large_arguments_and_outputs_pass_through_blobs() {
    let mut rig = Rig::start(1).await;
    let args: Vec<String> = (0..4).map(|n| n.to_string().repeat(200_000)).collect();
    let batch = rig.submit(&Submit { per_message: 2, blob: true, ..Submit::to("echo") }, &args).await;
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 4, "{record:?}");
    for (outcome, arg) in rig.outcomes(batch).await.iter().zip(&args) {
        let Outcome::Blob(blob) = outcome else { panic!("a large output stands in a blob") };
        let bytes = rig.broker.get_blob(&mut rig.conn, batch, blob).await.unwrap().unwrap();
        assert_eq!(codec::decode::<String>(&bytes).unwrap(), *arg);
    }
}

#[tokio::test]
async fn a_dead_letter_keeps_its_arguments() {
    let mut rig = Rig::start(1).await;
    let what = Submit { per_message: 3, blob: true, ..Submit::to("fail") };
    let batch = rig.submit(&what, &[("a", 9), ("b", 0), ("c", 9)]).await;
    rig.finished(batch).await;
    let key = rig.broker.keys().blob(batch, "a0", 0);
    let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut rig.conn).await.unwrap();
    assert!(left > 29 * 24 * 3_600_000, "{left} ms");
    assert_eq!(rig.stats().await.dead_tasks, 2);
}

#[tokio::test]
async fn a_chunk_that_only_fails_is_recorded_in_pieces() {
    let mut rig = Rig::start(2).await;
    let text = "x".repeat(3_000);
    let args: Vec<(&str, u16)> = vec![("no", 9); 2_000];
    let batch = rig.submit(&Submit { per_message: 1_000, ..Submit::to("fail") }, &args).await;
    let long = rig.submit(&Submit { per_message: 30, ..Submit::to("fail") }, &vec![(text.as_str(), 9u16); 30]).await;
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Failed), 2_000);
    assert_eq!(rig.outcomes(batch).await.len(), 2_000);
    rig.finished(long).await;
    rig.nothing_left().await;
    assert_eq!(rig.stats().await.dead_tasks, 2_030);
}
