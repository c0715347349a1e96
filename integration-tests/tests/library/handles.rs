//! Handles of single tasks.

use std::time::{Duration, Instant};

use gristmill::{OutcomeKind, SubmitOptions, TaskError, TaskStatus};
use gristmill_integration_tests::eventually;
use gristmill_kernels::test_kernels::{fail, spin};
use gristmill_kernels::{monte_carlo_pi, sleep, square};
use gristmill_shared::events;

use crate::{Scene, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_is_awaited_and_asked_as_often_as_wanted() {
    let scene = Scene::start(2).await;
    let handle = scene.client.submit(square, 7).await.unwrap();
    assert_eq!(soon(async { (&handle).await }).await.unwrap(), 49);
    assert_eq!(handle.result().await.unwrap(), 49);
    assert_eq!(handle.try_result().await.unwrap(), Some(49));
    assert_eq!(handle.outcome().await.unwrap(), OutcomeKind::Succeeded);
    assert_eq!(handle.clone().map(|n| n.to_string()).await.unwrap(), "49");
    assert_eq!(handle.clone().into_raw().await.unwrap(), [49]);
    assert!(handle.status().await.unwrap().has_succeeded());
    assert_eq!(handle.await.unwrap(), 49);
    // Several arguments are a tuple.
    let hits = scene.client.submit(monte_carlo_pi, (1000, 7)).await.unwrap().await.unwrap();
    assert_eq!(hits, monte_carlo_pi(1000, 7).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_tells_what_went_wrong_and_in_which_attempt() {
    let scene = Scene::start(1).await;
    let options = SubmitOptions::new().retries(1).backoff(Duration::from_millis(1), Duration::from_millis(1));
    let handle = scene.client.submit_with(fail, ("no such file".into(), 9), &options).await.unwrap();
    let error = soon(async { handle.result().await }).await.unwrap_err();
    assert_eq!((error.kind(), error.attempt(), error.task()), (Some(OutcomeKind::Failed), Some(2), Some(handle.id())));
    assert!(error.to_string().contains("no such file"), "{error}");
    assert_eq!(handle.outcome().await.unwrap(), OutcomeKind::Failed);
    let status = handle.status().await.unwrap();
    assert!(matches!(status, TaskStatus::Ended { kind: OutcomeKind::Failed, attempt: Some(2), .. }), "{status:?}");
    assert!(matches!(handle.try_result().await, Err(TaskError::Ended(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_no_longer_leaves_the_task_alone() {
    let scene = Scene::start(1).await;
    let handle = scene.client.submit(sleep, 60.0).await.unwrap();
    scene.worker.log.wait(events::TASK_STARTED);
    let began = Instant::now();
    let error = handle.result_timeout(Duration::from_millis(50)).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(matches!(error, TaskError::Timeout { batch, .. } if batch == handle.id().batch), "{error}");
    assert!(error.to_string().contains("within 50ms; it goes on"), "{error}");
    assert_eq!(error.kind(), None, "the task has not timed out");
    assert_eq!(handle.try_result().await.unwrap(), None);
    assert!(!handle.status().await.unwrap().has_ended());
    assert!(handle.cancel().await.unwrap());
    let error = handle.result_timeout(Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(error.kind(), Some(OutcomeKind::Cancelled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_seen_on_all_its_ways() {
    let scene = Scene::start(1).await;
    let client = &scene.client;
    let running = client.submit(spin, 60_000).await.unwrap();
    scene.worker.log.wait(events::TASK_STARTED);
    let first = client.submit(square, 1).await.unwrap();
    let second = client.submit(square, 2).await.unwrap();
    let later = client.submit_with(square, 3, &SubmitOptions::new().delay(Duration::from_secs(3600))).await.unwrap();

    let status = second.status().await.unwrap();
    assert_eq!(status, TaskStatus::Waiting { ahead: Some(1), attempt: Some(1) });
    let status = later.status().await.unwrap();
    assert!(matches!(status, TaskStatus::Scheduled { attempt: 1, .. }), "{status:?}");
    assert!(running.status().await.unwrap() != status && !running.status().await.unwrap().has_ended());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match running.status().await.unwrap() {
            TaskStatus::Running { attempt, host, since, .. } => {
                assert_eq!(attempt, Some(1));
                assert!(!host.is_empty() && since <= std::time::SystemTime::now());
                break;
            }
            TaskStatus::Claimed { attempt: 1, .. } => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{other:?}"),
        }
        assert!(Instant::now() < deadline, "no worker says that it runs");
    }
    assert!(running.progress().await.unwrap().is_some() && second.progress().await.unwrap().is_none());

    assert!(first.cancel().await.unwrap() && later.cancel().await.unwrap() && running.cancel().await.unwrap());
    for handle in [&first, &later] {
        assert_eq!(soon(handle.outcome()).await.unwrap(), OutcomeKind::Cancelled);
    }
    assert_eq!(soon(running.outcome()).await.unwrap(), OutcomeKind::Cancelled);
    assert!(!running.cancel().await.unwrap(), "it has ended");
    assert_eq!(soon(second.result()).await.unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_forgotten_with_all_that_it_takes() {
    let mut scene = Scene::start(1).await;
    let sent = vec![7_u64; 100_000];
    let large = scene.client.submit_dyn::<Vec<u64>>("echo", &sent, &SubmitOptions::new()).await.unwrap();
    let slow = scene.client.submit(sleep, 0.2).await.unwrap();
    assert!(!slow.forget().await.unwrap(), "it has not ended");
    assert_eq!(soon(large.result()).await.unwrap(), sent);
    let outputs = format!("{{gm}}:blob:{}:o*", large.id().batch);
    assert_eq!(scene.redis.matching(&outputs).len(), 1);
    assert!(large.forget().await.unwrap());
    assert_eq!(scene.redis.matching(&outputs), [""; 0]);
    assert_eq!(scene.redis.matching(&format!("{{gm}}:batch:{}", large.id().batch)), [""; 0]);
    let error = large.result().await.unwrap_err();
    assert!(error.to_string().contains("there is no batch"), "{error}");
    soon(slow.result()).await.unwrap();
    assert!(slow.forget().await.unwrap());
    let cli = gristmill_integration_tests::Cli::new(&scene.redis);
    let checked =
        eventually("everything comes to rest", || Some(cli.run(&["fsck"])).filter(|checked| checked.code == 0));
    assert_eq!(checked.code, 0, "{}", checked.stdout);
}
