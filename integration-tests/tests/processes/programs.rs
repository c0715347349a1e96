//! Programs as tasks: whatever ends one, nothing of it stays.

use std::path::Path;
use std::time::Duration;

use gristmill::{Client, Handle, OutcomeKind, SubmitOptions, TaskError};
use gristmill_integration_tests::pids::Process;
use gristmill_integration_tests::worker::assert_gone;
use gristmill_integration_tests::{Redis, WorkerOptions, WorkerProcess, eventually};
use gristmill_kernels::square;
use gristmill_shared::events;
use gristmill_shared::exec::{Exec, ExecArgs, ExecOutput};
use nix::sys::signal::Signal;

use crate::kind;

/// Starts a process in its group and one that leaves its session and its parent, notes all of them, and goes on.
const FAMILY: &str = r#"
    sleep 600 & echo $! >> "$1"
    setsid sh -c 'trap "" TERM; sleep 600 & echo $! >> "$1"; sleep 600 & echo $! >> "$1"' sh "$1"
    echo $$ >> "$1"
    echo ready >> "$1"
"#;

/// A program with a family that goes on like this.
fn family(folder: &Path, name: &str, then: &str) -> ExecArgs {
    let script = format!("{FAMILY}\n{then}");
    ExecArgs::new(["sh", "-c", &script, "sh", &folder.join(name).display().to_string()])
}

/// All processes of a family, once it is complete.
fn members(folder: &Path, name: &str) -> Vec<Process> {
    let file = folder.join(name);
    let text = eventually("the family is complete", || {
        std::fs::read_to_string(&file).ok().filter(|text| text.ends_with("ready\n"))
    });
    let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(pids.len(), 4, "{text}");
    pids.into_iter().filter_map(Process::now).collect()
}

fn worker() -> WorkerOptions {
    WorkerOptions::new().arg("--allow-exec *")
}

async fn submit(client: &Client, args: ExecArgs, options: &SubmitOptions) -> Handle<ExecOutput> {
    client.submit_with(Exec, args, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_program_outlives_its_task() {
    let redis = Redis::start();
    let mut worker = worker().arg("--memory-limit 128MiB --lease 2s").start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let none = SubmitOptions::new();
    let limit = SubmitOptions::new().time_limit(Duration::from_secs(3));
    let long = submit(&client, family(folder, "time", "sleep 600"), &limit).await;
    let found = members(folder, "time");
    assert_eq!(found.len(), 4);
    assert_eq!(long.result().await.as_ref().err().map(kind), Some(OutcomeKind::TimedOut));
    assert_gone(&found);

    let hog = "head -c 400000000 /dev/zero | tail -c 400000000 >/dev/null; sleep 600";
    let hog = submit(&client, family(folder, "memory", hog), &none).await;
    let found = members(folder, "memory");
    assert_eq!(hog.result().await.as_ref().err().map(kind), Some(OutcomeKind::OutOfMemory));
    assert_gone(&found);

    let cancelled = submit(&client, family(folder, "cancel", "trap '' TERM; while :; do sleep 600; done"), &none).await;
    let found = members(folder, "cancel");
    cancelled.cancel().await.unwrap();
    assert_eq!(cancelled.result().await.as_ref().err().map(kind), Some(OutcomeKind::Cancelled));
    assert_gone(&found);

    let done = submit(&client, family(folder, "done", "exit 0"), &none).await;
    let found = members(folder, "done");
    done.result().await.unwrap();
    assert_gone(&found);
    assert_eq!(client.submit(square, 3).await.unwrap().result().await.unwrap(), 9, "its consumer works on");
    assert_eq!(worker.drain().code(), Some(0));
}

/// A worker that runs a family, which is complete.
async fn running(folder: &Path, options: WorkerOptions) -> (Redis, WorkerProcess, Handle<ExecOutput>, Vec<Process>) {
    let redis = Redis::start();
    let worker = options.start(&redis);
    let client = redis.client().await;
    let task = submit(&client, family(folder, "family", "sleep 600"), &SubmitOptions::new()).await;
    let found = members(folder, "family");
    assert_eq!(found.len(), 4);
    (redis, worker, task, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_program_outlives_a_killed_consumer() {
    let folder = tempfile::tempdir().unwrap();
    let (_redis, worker, task, found) = running(folder.path(), worker()).await;
    worker.consumers()[0].0.signal(Signal::SIGKILL);
    assert_gone(&found);
    // It is a loss, so it runs again.
    let file = folder.path().join("family");
    eventually("it runs again", || (std::fs::read_to_string(&file).ok()?.matches("ready").count() == 2).then_some(()));
    task.cancel().await.unwrap();
    assert_eq!(task.result().await.as_ref().err().map(kind), Some(OutcomeKind::Cancelled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_program_outlives_a_killed_supervisor() {
    let folder = tempfile::tempdir().unwrap();
    let (_redis, mut worker, _task, found) = running(folder.path(), worker()).await;
    worker.signal(Signal::SIGKILL);
    worker.wait();
    assert_gone(&found);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_nothing_of_a_program_outlives_a_killed_supervisor_either() {
    let folder = tempfile::tempdir().unwrap();
    let (mut redis, mut worker, _task, found) = running(folder.path(), worker()).await;
    redis.server().kill();
    worker.signal(Signal::SIGKILL);
    worker.wait();
    assert_gone(&found);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_gives_a_program_back_and_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut redis, mut worker, task, found) = running(folder.path(), worker().arg("--grace 1s")).await;
    assert_eq!(worker.drain().code(), Some(0));
    assert_gone(&found);
    assert_eq!(redis.depth(), 1, "it waits for another worker");
    drop(task);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_fails_is_retried_and_keeps_what_it_said() {
    let redis = Redis::start();
    // Anybody's worker has the flags, and with them the kernel.
    let worker = worker().program(env!("CARGO_BIN_EXE_odd-worker")).start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runs").display().to_string();
    let quick = Duration::from_millis(5);
    let options = SubmitOptions::new().retries(2).backoff(quick, quick);
    let script = "echo $GRISTMILL_ATTEMPT >> \"$1\"; echo attempt $GRISTMILL_ATTEMPT >&2; exit 7";
    let args = ExecArgs::new(["sh", "-c", script, "sh", &file]);
    let Err(TaskError::Ended(failure)) = submit(&client, args, &options).await.result().await else {
        panic!("it fails")
    };
    assert_eq!((failure.kind, failure.attempt), (OutcomeKind::Failed, 3));
    assert_eq!((failure.message.as_str(), failure.kind_name()), ("exit status 7: attempt 3", Some("exit")));
    let output: ExecOutput = failure.details().unwrap().unwrap();
    assert_eq!((output.exit_code, &output.stderr[..]), (Some(7), &b"attempt 3\n"[..]));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1\n2\n3\n");
    let second = "test $GRISTMILL_ATTEMPT = 2 && echo well";
    let output = submit(&client, ExecArgs::new(["sh", "-c", second]), &options).await.result().await.unwrap();
    assert_eq!(&output.stdout[..], b"well\n");
    assert_eq!(worker.log.events(events::CONSUMER_DIED).len(), 0, "no consumer ends over it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_thread_and_no_descriptor_is_left_of_a_program() {
    let redis = Redis::start();
    let worker = worker().start(&redis);
    let client = redis.client().await;
    let count =
        |folder: &str| std::fs::read_dir(format!("/proc/{}/{folder}", worker.consumers()[0].0.pid)).unwrap().count();
    let run = async || {
        let script = "cat >/dev/null; sleep 600 & echo x";
        let stdin = Some(b"some".to_vec().into());
        let args = ExecArgs { stdin, ..ExecArgs::new(["sh", "-c", script]) };
        submit(&client, args, &SubmitOptions::new()).await.result().await.unwrap();
    };
    run().await;
    let before = (count("task"), count("fd"));
    for _ in 0..20 {
        run().await;
    }
    assert_eq!((count("task"), count("fd")), before);
}
