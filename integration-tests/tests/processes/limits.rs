//! Time limits and cancels, also of tasks that do not listen.

use std::time::{Duration, Instant};

use gristmill::{OutcomeKind, SubmitOptions};
use gristmill_integration_tests::pids::Process;
use gristmill_integration_tests::worker::assert_gone;
use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};
use gristmill_kernels::test_kernels::{overrun, spin};
use gristmill_kernels::{sleep, square};
use gristmill_shared::events;

use crate::kind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_runs_too_long_is_ended() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    let began = Instant::now();
    let options = SubmitOptions::new().time_limit(Duration::from_millis(300));
    let error = client.submit_with(spin, 60_000, &options).await.unwrap().result().await.unwrap_err();
    assert_eq!(kind(&error), OutcomeKind::TimedOut);
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_secs(3), "it took {:?}", began.elapsed());
    assert_eq!(client.submit(square, 3).await.unwrap().result().await.unwrap(), 9, "the successor works");
    let cli = Cli::new(&redis);
    eventually("the worker offers its kernels", || cli.run(&["kernels"]).ok().contains("spin").then_some(()));
    let output = cli.run(&["submit", "spin", "60000", "--time-limit", "300ms", "--wait"]);
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("timed out"), "{}", output.stderr);
    worker.drain();
    assert_eq!(worker.log.events(events::CONSUMER_DIED).len(), 0, "they died by order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_cannot_keep_the_limit_is_killed() {
    let mut redis = Redis::start();
    let worker = WorkerOptions::new().test_kernels().debug().start(&redis);
    let client = redis.client().await;
    let options = SubmitOptions::new().time_limit(Duration::from_millis(300));
    let task = client.submit_with(spin, 60_000, &options).await.unwrap();
    worker.log.wait(events::TASK_STARTED);
    worker.consumer(&redis.wait_busy()).signal(nix::sys::signal::Signal::SIGSTOP);
    assert_eq!(task.result().await.as_ref().err().map(kind), Some(OutcomeKind::TimedOut));
    worker.log.wait(events::LIMIT_ENFORCED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_and_running_tasks_can_be_cancelled() {
    let redis = Redis::start();
    let worker = WorkerOptions::new().arg("--lease 1s").test_kernels().debug().start(&redis);
    let client = redis.client().await;
    let processes = worker.processes();
    let listens = client.submit(sleep, 60.0).await.unwrap();
    worker.log.wait(events::TASK_STARTED);
    let queued = client.submit(square, 3).await.unwrap();
    queued.cancel().await.unwrap();
    listens.cancel().await.unwrap();
    for task in [listens.result().await.err(), queued.result().await.err()] {
        assert_eq!(task.as_ref().map(kind), Some(OutcomeKind::Cancelled));
    }
    assert_eq!(worker.processes(), processes, "who listens lives on");
    let deaf = client.submit(spin, 60_000).await.unwrap();
    worker.log.wait_for(events::TASK_STARTED, |line| line.text("task") == deaf.id().to_string());
    deaf.cancel().await.unwrap();
    assert_eq!(deaf.result().await.as_ref().err().map(kind), Some(OutcomeKind::Cancelled));
    assert_eq!(client.submit(square, 4).await.unwrap().result().await.unwrap(), 16, "the successor works");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_task_learns_of_its_cancel_at_once() {
    const TASKS: u32 = 4;
    let redis = Redis::start();
    let worker = WorkerOptions::new().debug().start(&redis);
    let client = redis.client().await;
    let mut waited = Duration::ZERO;
    for _ in 0..TASKS {
        let task = client.submit(sleep, 60.0).await.unwrap();
        worker.log.wait_for(events::TASK_STARTED, |line| line.text("task") == task.id().to_string());
        let began = Instant::now();
        task.cancel().await.unwrap();
        assert_eq!(task.result().await.as_ref().err().map(kind), Some(OutcomeKind::Cancelled));
        waited += began.elapsed();
    }
    // The next renewal alone would take a second and a half on average.
    assert!(waited < TASKS * Duration::from_millis(800), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_starts_later_honours_a_cancel() {
    let redis = Redis::start();
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let args = ("leak".to_owned(), trace.display().to_string());
    let single = client.submit(overrun, args.clone()).await.unwrap();
    let batch = client.map(overrun, vec![args.clone(); 50]).await.unwrap();
    let other = client.submit(square, 3).await.unwrap();
    single.cancel().await.unwrap();
    client.cancel(batch.id()).await.unwrap();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    assert_eq!(single.result().await.as_ref().err().map(kind), Some(OutcomeKind::Cancelled));
    let kinds = crate::kinds(&client, batch.id()).await;
    assert_eq!(kinds, [OutcomeKind::Cancelled; 50]);
    assert_eq!(other.result().await.unwrap(), 9);
    assert!(!trace.exists(), "none of them was started");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_batch_ends_with_what_runs_of_it() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().consumers(2).test_kernels().debug().start(&redis);
    let client = redis.client().await;
    let deaf = client.map(spin, [60_000]).await.unwrap();
    worker.log.wait_for(events::TASK_STARTED, |line| line.text("kernel") == "spin");
    let listens = client.map(sleep, [60.0; 3]).await.unwrap();
    worker.log.wait_for(events::TASK_STARTED, |line| line.text("kernel") == "sleep");
    for (batch, tasks) in [(listens.id(), 3), (deaf.id(), 1)] {
        client.cancel(batch).await.unwrap();
        assert_eq!(crate::kinds(&client, batch).await, vec![OutcomeKind::Cancelled; tasks]);
    }
    worker.drain();
    assert_eq!(worker.log.events(events::CONSUMER_DIED).len(), 0, "who is deaf dies by order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_tasks_end_when_they_are_cancelled() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().start(&redis);
    let client = redis.client().await;
    let later = SubmitOptions::new().delay(Duration::from_secs(3_600));
    let task = client.submit_with(square, 3, &later).await.unwrap();
    let batch = client.map_with(square, 0..100, &later).await.unwrap();
    let other = client.submit_with(square, 4, &later).await.unwrap();
    task.cancel().await.unwrap();
    client.cancel(batch.id()).await.unwrap();
    assert_eq!(task.result().await.as_ref().err().map(kind), Some(OutcomeKind::Cancelled));
    let kinds = crate::kinds(&client, batch.id()).await;
    assert!(kinds.iter().all(|&kind| kind == OutcomeKind::Cancelled), "{kinds:?}");
    let waiting = client.queues().await.unwrap()[0].scheduled_tasks;
    assert_eq!(waiting, 1, "what nobody cancelled waits: {}", other.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hard_limit_ends_all_programs_of_a_task() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let options = SubmitOptions::new().time_limit(Duration::from_millis(500));
    let args = ("programs".to_owned(), trace.display().to_string());
    let task = client.submit_with(overrun, args, &options).await.unwrap();
    let programs = eventually("its programs run", || {
        let line = std::fs::read_to_string(&trace).ok()?;
        let pids = line.strip_suffix('\n')?.split(' ').map(|pid| Process::now(pid.parse().ok()?));
        pids.collect::<Option<Vec<_>>>()
    });
    assert_eq!(programs.len(), 2, "one in the process group, one in a session of its own");
    assert_eq!(task.result().await.as_ref().err().map(kind), Some(OutcomeKind::TimedOut));
    assert_gone(&programs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_heeds_its_soft_limit_has_a_result() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let args = || ("soft".to_owned(), folder.path().join("trace").display().to_string());
    let soft = SubmitOptions::new().soft_time_limit(Duration::from_millis(100));
    let began = Instant::now();
    client.submit_with(overrun, args(), &soft).await.unwrap().result().await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(100));
    let hard = SubmitOptions::new().time_limit(Duration::from_millis(200));
    let error = client.submit_with(overrun, args(), &hard).await.unwrap().result().await.unwrap_err();
    assert_eq!(kind(&error), OutcomeKind::TimedOut, "without a soft limit it never passes");
}
