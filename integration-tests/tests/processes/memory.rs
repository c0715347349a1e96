//! Memory limits: who takes too much ends, after exactly as many executions as it has attempts, and nobody else.

use std::path::Path;
use std::time::Duration;

use gristmill::{Client, OutcomeKind, SubmitOptions, TaskError};
use gristmill_integration_tests::cgroup::Cgroup;
use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_kernels::square;
use gristmill_kernels::test_kernels::overrun;
use gristmill_shared::defaults::CRASHES_MAX;
use gristmill_shared::{DeathCause, Failure, events};
use nix::sys::signal::Signal;

const RETRIES: u16 = 1;
const MIB: u64 = 1 << 20;

fn options() -> SubmitOptions {
    let quick = Duration::from_millis(10);
    SubmitOptions::new().retries(RETRIES).backoff(quick, quick)
}

/// Runs `overrun` and returns how it ended, and how often it was executed.
async fn run(client: &Client, how: &str, trace: &Path, options: &SubmitOptions) -> (OutcomeKind, Failure, usize) {
    let trace = trace.join(how);
    let args = (how.to_owned(), trace.display().to_string());
    let task = client.submit_with(overrun, args, options).await.unwrap();
    let Err(TaskError::Ended(ended)) = task.result().await else { panic!("{how} must not succeed") };
    let executed = std::fs::read_to_string(trace).map_or(0, |lines| lines.lines().count());
    let failure = Failure { certificate: ended.certificate, ..Failure::new(ended.message, ended.attempt) };
    (ended.kind, failure, executed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hogs_end_after_their_attempts_and_harm_nobody() {
    let redis = Redis::start();
    let worker = WorkerOptions::new().consumers(2).test_kernels().arg("--memory-limit 128MiB");
    let mut worker = worker.arg("--lease 600s").start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let others = client.map(square, 0..2_000).await.unwrap();
    let limited = options().time_limit(Duration::from_millis(300));
    let open = options();
    let (memory, jump, program, time) = tokio::join!(
        run(&client, "memory", folder.path(), &open),
        run(&client, "jump", folder.path(), &open),
        run(&client, "program", folder.path(), &open),
        run(&client, "time", folder.path(), &limited),
    );
    for (kind, failure, executed) in [&memory, &jump, &program] {
        assert_eq!(*kind, OutcomeKind::OutOfMemory, "{failure:?}");
        assert_eq!((*executed, failure.attempt), (1 + usize::from(RETRIES), 1 + RETRIES), "{failure:?}");
        assert!(failure.message.contains("memory limit of 128MiB"), "{failure:?}");
        let certificate = failure.certificate.as_ref().expect("a process died");
        assert_eq!(certificate.cause, DeathCause::MemoryLimit, "{certificate:?}");
        assert!(certificate.run_ms.is_some() && certificate.peak_rss_bytes.is_some(), "{certificate:?}");
    }
    assert!(memory.1.certificate.unwrap().peak_rss_bytes.unwrap() >= 128 * MIB);
    assert_eq!((time.0, time.2), (OutcomeKind::TimedOut, 1 + usize::from(RETRIES)), "{:?}", time.1);
    let squares: Vec<i64> = others.collect().await.unwrap();
    assert_eq!(squares, (0..2_000).map(|n| n * n).collect::<Vec<_>>());
    worker.drain();
    let died = worker.log.events(events::CONSUMER_DIED);
    assert_eq!(died.iter().filter(|line| line.text("cause") == "memory_limit").count(), 6, "{died:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_task_declares_is_its_limit() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let declared = SubmitOptions::new().memory(64 * MIB);
    for how in ["memory", "jump"] {
        let (kind, failure, executed) = run(&client, how, folder.path(), &declared).await;
        assert_eq!((kind, executed), (OutcomeKind::OutOfMemory, 1), "{failure:?}");
        assert!(failure.message.contains("memory limit of 64MiB"), "{failure:?}");
    }
    let leak = ("leak".to_owned(), folder.path().join("leak").display().to_string());
    client.submit_with(overrun, leak, &declared).await.unwrap().result().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_declares_more_than_there_is_does_not_start() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().test_kernels().arg("--memory-limit 1GiB").start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    for (bytes, text) in [(1 << 40, "1TiB"), (3 << 30, "3GiB")] {
        let (kind, failure, executed) = run(&client, "memory", folder.path(), &options().memory(bytes)).await;
        assert_eq!((kind, executed, failure.attempt), (OutcomeKind::OutOfMemory, 0, 1), "{failure:?}");
        assert!(failure.message.contains(text) && failure.message.contains("1GiB"), "{failure:?}");
    }
    worker.drain();
    assert_eq!(worker.log.events(events::CONSUMER_DIED).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_machine_does_not_have_is_a_crash_that_tells_so() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let (kind, failure, executed) = run(&client, "jump", folder.path(), &SubmitOptions::new()).await;
    assert_eq!((kind, executed), (OutcomeKind::OutOfMemory, usize::from(CRASHES_MAX)), "{failure:?}");
    let certificate = failure.certificate.expect("a process died");
    assert_eq!((certificate.cause, certificate.signal), (DeathCause::Crash, Some(Signal::SIGABRT as i32)));
    assert!(certificate.out_of_memory, "{certificate:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_out_of_memory_kill_is_a_crash_that_tells_so() {
    // In this order: the group can only go after the worker.
    let Some(group) = Cgroup::with_memory(96 * MIB) else {
        return;
    };
    let redis = Redis::start();
    let worker = WorkerOptions::new().program(group.worker()).consumers(2).test_kernels();
    let mut worker = worker.arg("--lease 600s").start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let others = client.map(square, 0..10_000).await.unwrap();
    let (kind, failure, executed) = run(&client, "memory", folder.path(), &SubmitOptions::new()).await;
    assert_eq!((kind, executed), (OutcomeKind::OutOfMemory, usize::from(CRASHES_MAX)), "{failure:?}");
    let certificate = failure.certificate.expect("a process died");
    assert_eq!(
        (certificate.cause, certificate.signal),
        (DeathCause::Crash, Some(Signal::SIGKILL as i32)),
        "{certificate:?}"
    );
    assert!(certificate.out_of_memory, "{certificate:?}");
    assert!(certificate.peak_rss_bytes.is_some_and(|bytes| bytes > 40 * MIB), "{certificate:?}");
    let squares: Vec<i64> = others.collect().await.unwrap();
    assert_eq!(squares, (0..10_000).map(|n| n * n).collect::<Vec<_>>());
    worker.drain();
    assert_eq!(worker.log.events(events::CONSUMER_DIED).len(), usize::from(CRASHES_MAX), "only its own processes");
}
