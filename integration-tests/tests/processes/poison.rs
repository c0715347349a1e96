//! One bad task harms nobody else: only it is charged, and the others of its chunk succeed.

use gristmill::{OutcomeKind, SubmitOptions, TaskError};
use gristmill_integration_tests::{Cli, Redis, WorkerOptions, enqueue_chunk, eventually};
use gristmill_kernels::test_kernels::{crash, fail};
use gristmill_shared::defaults::CRASHES_MAX;
use gristmill_shared::{DeathCause, events};

use crate::{kinds, one_outcome_each, results};

const NEIGHBOURS: usize = 20;

/// A chunk of harmless tasks with one bad one in the middle.
fn chunk(bad: &str) -> Vec<&str> {
    let mut chunk = vec!["print"; NEIGHBOURS + 1];
    chunk[NEIGHBOURS / 2] = bad;
    chunk
}

async fn buries_only_the_bad_one(bad: &str) {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().arg("--lease 600s").test_kernels().start(&redis);
    let client = redis.client().await;
    let batch = enqueue_chunk(&redis, "crash", &chunk(bad)).await;
    for (index, result) in results::<()>(&client, batch).await {
        if index as usize != NEIGHBOURS / 2 {
            result.unwrap_or_else(|error| panic!("the neighbour {index} was harmed: {error}"));
            continue;
        }
        let Err(TaskError::Ended(failure)) = result else { panic!("{bad} came back: {result:?}") };
        assert_eq!(failure.kind, OutcomeKind::Crashed, "{failure}");
        let certificate = failure.certificate.expect("a process died");
        assert_eq!(certificate.cause, DeathCause::Crash, "{certificate:?}");
    }
    worker.drain();
    assert_eq!(worker.log.events(events::CONSUMER_DIED).len(), usize::from(CRASHES_MAX));
    one_outcome_each(&client, batch, NEIGHBOURS as u64 + 1).await;
    assert_eq!(client.queues().await.unwrap()[0].dead_tasks, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_aborts() {
    buries_only_the_bad_one("abort").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_segfaults() {
    buries_only_the_bad_one("segfault").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_exits() {
    buries_only_the_bad_one("exit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_overflows_the_stack() {
    buries_only_the_bad_one("stack-overflow").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_closes_descriptors_harms_no_other() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().consumers(2).arg("--lease 600s").test_kernels().start(&redis);
    let client = redis.client().await;
    let batch = enqueue_chunk(&redis, "crash", &chunk("close-fds")).await;
    let other = client.map(crash, vec!["print".to_owned(); 20]).await.unwrap();
    assert_eq!(other.collect().await.unwrap().len(), 20);
    let kinds = kinds(&client, batch).await;
    for (index, kind) in kinds.into_iter().enumerate() {
        let bad = index == NEIGHBOURS / 2;
        assert_eq!(kind, if bad { OutcomeKind::Crashed } else { OutcomeKind::Succeeded }, "task {index}");
    }
    one_outcome_each(&client, batch, NEIGHBOURS as u64 + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_panics_fails() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    let batch = enqueue_chunk(&redis, "crash", &chunk("panic")).await;
    let mut results = results::<()>(&client, batch).await;
    let Some(Err(TaskError::Ended(failure))) = results.remove(&(NEIGHBOURS as u64 / 2)) else { panic!("it panics") };
    assert_eq!(failure.kind, OutcomeKind::Failed);
    assert!(failure.message.contains("a panic, as asked for"), "{failure}");
    assert!(results.values().all(Result::is_ok));
    worker.drain();
    assert_eq!(worker.log.events(events::CONSUMER_DIED).len(), 0, "a panic ends no process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_retried_as_often_as_asked_for() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    let quick = std::time::Duration::from_millis(20);
    let options = SubmitOptions::new().retries(2).backoff(quick, quick);
    let submit = async |failures: u16| client.submit_with(fail, ("not yet".into(), failures), &options).await.unwrap();
    let (good, bad) = (submit(2).await, submit(3).await);
    assert_eq!(good.result().await.unwrap(), 3, "the third attempt succeeds");
    let error = bad.result().await.unwrap_err();
    assert_eq!((error.kind(), error.attempt()), (Some(OutcomeKind::Failed), Some(3)));
    let cli = Cli::new(&redis);
    eventually("the worker offers its kernels", || cli.run(&["kernels"]).ok().contains("fail").then_some(()));
    assert_eq!(cli.run(&["submit", "fail", r#"["not yet", 1]"#, "--retries", "1", "--wait"]).ok(), "2\n");
    let failed = cli.run(&["submit", "fail", r#"["never", 9]"#, "--wait"]);
    assert_eq!(failed.code, 1);
    assert!(failed.stderr.contains("never"), "{}", failed.stderr);
}
