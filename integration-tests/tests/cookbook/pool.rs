//! The verbs of `multiprocessing.Pool`.

use std::time::Duration;

use gristmill::{Client, OutcomeKind, SubmitOptions, TaskError, Until, wait};
use gristmill_kernels::test_kernels::fail;
use gristmill_kernels::{monte_carlo_pi, sleep, square};
use tokio::time::timeout;

use crate::{Outcome, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_maps() -> Outcome {
    let scene = Scene::start().await;
    let url = scene.redis.url();
    let client = Client::connect(url).await?;

    assert_eq!(client.submit(square, 7).await?.await?, 49);
    let handle = client.submit(square, 7).await?;
    let reporter = tokio::spawn(async move {
        match handle.await {
            Ok(value) => format!("it is {value}"),
            Err(error) => format!("it failed: {error}"),
        }
    });
    assert_eq!(reporter.await?, "it is 49");

    let squares = client.map(square, 1..=100).await?.collect().await?;
    assert_eq!((squares.len(), squares[99]), (100, 10_000));
    let mut squares = client.map(square, 1..=100).await?;
    let mut sum = 0;
    while let Some(result) = squares.next().await {
        sum += result?;
    }
    assert_eq!(sum, 338_350);
    let mut squares = client.map_unordered(square, 1..=100).await?;
    let mut seen = 0;
    while let Some((index, result)) = squares.next().await {
        assert_eq!(result?, (index as i64 + 1).pow(2));
        seen += 1;
    }
    assert_eq!(seen, 100);

    let pi = client.submit(monte_carlo_pi, (1000, 1)).await?.await?;
    assert_eq!(pi.samples, 1000);
    let hits = client.map(monte_carlo_pi, [(1000, 1), (1000, 2)]).await?.collect().await?;
    assert_eq!(hits.len(), 2);
    let batch = client.map(monte_carlo_pi, [(1000, 1), (1000, 2)]).await?.detach().await?;
    assert!(client.batch(batch).wait_timeout(Duration::from_secs(30)).await?.is_some());
    let chunked = client.with(SubmitOptions::new().chunk(50));
    assert_eq!(chunked.map(square, 1..=100).await?.collect().await?.len(), 100);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_failures_and_timeouts() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;

    let handle = client.submit(square, 7).await?;
    assert_eq!(handle.result().await?, 49);
    assert!(handle.status().await?.has_ended());
    assert!(handle.status().await?.has_succeeded());

    let slow = client.submit(sleep, 60.0).await?;
    let time = Duration::from_millis(100);
    let result = slow.result_timeout(time).await;
    assert!(matches!(result, Err(TaskError::Timeout { .. })));
    let waited = wait([slow.clone()], Until::All, Some(time)).await;
    assert_eq!((waited.done.len(), waited.not_done.len()), (0, 1));
    assert!(!slow.status().await?.has_ended(), "it goes on");
    assert!(slow.cancel().await?);

    let bad = client.submit(fail, ("no disk".into(), 9)).await?;
    match bad.result().await {
        Err(TaskError::Ended(failure)) => {
            assert_eq!((failure.kind, failure.attempt), (OutcomeKind::Failed, 1));
            assert_eq!((failure.message.as_str(), failure.chain().len()), ("no disk", 0));
        }
        other => panic!("{other:?}"),
    }
    assert!(!bad.status().await?.has_succeeded());
    let all = client.map(fail, [("a".into(), 0), ("b".into(), 9)]).await?.collect_all().await?;
    assert!(all[0].is_ok() && all[1].is_err(), "one failure takes no result from the others");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maps_that_fail_or_take_too_long() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;
    let time = Duration::from_millis(100);
    let jobs = [("a".to_owned(), 0), ("b".to_owned(), 9), ("c".to_owned(), 0)];

    let first = client.map(fail, jobs.clone()).await?.collect().await;
    assert!(matches!(first, Err(TaskError::Ended(failure)) if failure.message == "b"));
    let mut tried = client.map(fail, jobs.clone()).await?;
    let mut failed = Vec::new();
    while let Some(result) = tried.next().await {
        match result {
            Ok(attempt) => assert_eq!(attempt, 1),
            Err(TaskError::Ended(failure)) => failed.push(failure.task.index),
            Err(other) => return Err(other.into()),
        }
    }
    assert_eq!(failed, [1], "and the third came as well");
    let mut tried = client.map_unordered(fail, jobs).await?;
    while let Some((index, result)) = tried.next().await {
        assert_eq!(result.is_err(), index == 1);
    }

    let mut slept = client.map(sleep, [60.0]).await?;
    assert!(timeout(time, slept.next()).await.is_err(), "nothing is lost: the next call waits on");
    let batch = slept.id();
    drop(slept);
    // What runs of a dropped map is not cancelled; this one need not run to its end.
    client.batch(batch).cancel().await?;
    assert_eq!(client.batch(batch).wait().await?.count(OutcomeKind::Cancelled), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_pool() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;

    let squares = client.map(square, 1..=1000).await?;
    let batch = squares.detach().await?;
    let record = client.batch(batch).wait().await?;
    assert_eq!(record.count(OutcomeKind::Succeeded), 1000);

    let mut slept = client.with(SubmitOptions::new().chunk(1)).map(sleep, vec![0.2; 100]).await?;
    slept.next().await.unwrap()?;
    slept.cancel().await?;
    let mut cancelled = 0;
    while let Some(result) = slept.next().await {
        cancelled += usize::from(result.is_err_and(|error| error.kind() == Some(OutcomeKind::Cancelled)));
    }
    assert!(cancelled > 50, "{cancelled}");
    Ok(())
}
