//! The verbs of `concurrent.futures`.

use std::time::Duration;

use gristmill::{OutcomeKind, SubmitOptions, TaskError, Until, as_completed, gather, try_gather, wait};
use gristmill_kernels::test_kernels::{crash, fail};
use gristmill_kernels::{sleep, square};
use tokio::time::timeout;

use crate::{Outcome, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn futures() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;

    let handle = client.submit(square, 7).await?;
    assert_eq!(handle.result_timeout(Duration::from_secs(30)).await?, 49);
    assert_eq!(handle.try_result().await?, Some(49));
    assert!(handle.result().await.err().is_none());
    let bad = client.submit(fail, ("no".into(), 9)).await?;
    assert!(bad.result().await.is_err(), "and says why");
    assert!(handle.clone().await? == 49, "a handle is a future, too");
    let squares = client.map(square, 1..=100).await?;
    assert_eq!(timeout(Duration::from_secs(30), squares.collect()).await??.len(), 100);
    let slept = client.map(sleep, [60.0]).await?;
    assert!(
        timeout(Duration::from_millis(100), slept.collect()).await.is_err(),
        "and what has not started is cancelled"
    );

    let slow = client.submit(sleep, 60.0).await?;
    let running = async { while !slow.status().await.is_ok_and(|status| status.is_running()) {} };
    timeout(Duration::from_secs(30), running).await?;
    let time = Duration::from_millis(100);
    assert!(matches!(slow.result_timeout(time).await.err(), Some(TaskError::Timeout { .. })));
    assert!(slow.cancel().await?, "also one that runs: within 2 s");
    assert!(slow.outcome().await? == OutcomeKind::Cancelled);
    let error = slow.result().await.unwrap_err();
    assert!(error.kind() == Some(OutcomeKind::Cancelled));
    assert!(!handle.cancel().await?, "it had ended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_futures() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;
    let slow = client.submit(sleep, 60.0).await?.map(|()| 0);
    let (three, four) = (client.submit(square, 3).await?, client.submit(square, 4).await?);
    let bad = client.submit(fail, ("no".into(), 9)).await?.map(i64::from);

    let handles = vec![three.clone(), four.clone()];
    let mut ended = as_completed(handles.clone());
    while let Some((handle, result)) = ended.next().await {
        println!("{} gives {}", handle.id(), result?);
    }
    let mut never = as_completed([slow.clone()]);
    assert!(timeout(Duration::from_millis(100), never.next()).await.is_err());

    let handles = vec![slow.clone(), three.clone()];
    let waited = wait(handles.clone(), Until::First, None).await;
    assert_eq!(waited.done[0].0.id(), three.id());
    let waited = wait([slow.clone(), bad.clone()], Until::FirstError, None).await;
    assert_eq!((waited.done.len(), waited.not_done.len()), (1, 1));
    let waited = wait(handles, Until::All, Some(Duration::from_millis(100))).await;
    assert_eq!((waited.done.len(), waited.not_done.len()), (1, 1));

    let handles = vec![three, four];
    assert_eq!(try_gather(handles.clone()).await?, [9, 16]);
    let results = gather(handles).await;
    assert!(results.iter().all(Result::is_ok));
    assert!(try_gather([slow.clone(), bad.clone()]).await.is_err(), "as soon as one has failed");
    let mut ended = as_completed([slow.clone(), bad]);
    assert!(matches!(ended.next().await, Some((_, Err(TaskError::Ended(_))))));
    assert_eq!(ended.into_rest().len(), 1);
    slow.cancel().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_breaks_no_pool() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;
    let handle = client.submit(crash, "abort".into()).await?;
    let error = handle.result().await.unwrap_err();
    assert!(error.kind() == Some(OutcomeKind::Crashed), "{error}");
    assert_eq!(client.submit(square, 7).await?.await?, 49, "another consumer took its place");

    let slept = client.with(SubmitOptions::new().chunk(1)).map(sleep, vec![0.2; 50]).await?;
    let batch = client.batch(slept.detach().await?);
    batch.cancel_unstarted().await?;
    let record = batch.wait().await?;
    assert_eq!(record.count(OutcomeKind::Succeeded) + record.count(OutcomeKind::Cancelled), 50);
    let results = batch.collect_all::<()>().await?;
    assert!(matches!(&results[49], Err(TaskError::Ended(failure)) if failure.kind == OutcomeKind::Cancelled));
    Ok(())
}
