//! One bad task harms nobody else: only it is charged, and the others of its chunk succeed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gristmill::{Certificate, DeadFilter, OutcomeKind, SubmitOptions, TaskError};
use gristmill_integration_tests::{Cli, Redis, WorkerOptions, WorkerProcess, enqueue_chunk, eventually};
use gristmill_kernels::square;
use gristmill_kernels::test_kernels::{crash, fail};
use gristmill_shared::defaults::CRASHES_MAX;
use gristmill_shared::{DeathCause, events};
use nix::sys::signal::Signal;

use crate::{kind, kinds, one_outcome_each, results};

/// Tasks that a bad one must not harm.
const OTHERS: u64 = 10_000;
const NEIGHBOURS: usize = 20;
/// After its first start; it takes a fraction of a second.
const BURIED_WITHIN: Duration = Duration::from_secs(5);

/// A worker whose tasks write their numbers into a file.
struct Tally {
    worker: WorkerProcess,
    file: tempfile::NamedTempFile,
}

impl Tally {
    fn start(redis: &Redis, consumers: usize) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let options = WorkerOptions::new().program(env!("CARGO_BIN_EXE_poison-worker")).consumers(consumers);
        let options = options.arg("--lease 600s").variable("TALLY", file.path().to_string_lossy());
        Self { worker: options.start(redis), file }
    }

    /// How often each task was begun.
    fn executions(&self) -> BTreeMap<u64, u64> {
        let mut executions = BTreeMap::new();
        for number in std::fs::read_to_string(self.file.path()).unwrap().lines() {
            *executions.entry(number.parse().unwrap()).or_default() += 1;
        }
        executions
    }
}

/// Bad in this way, among many others; returns its certificate.
async fn buries_only_the_bad_one(how: &str) -> Certificate {
    let redis = Redis::start();
    let mut tally = Tally::start(&redis, 2);
    let client = redis.client().await;
    let others = client.map(square, (0..OTHERS).map(|n| n as i64)).await.unwrap();
    let bad = client.submit_dyn::<u64>("tally", &(7, how), &SubmitOptions::new()).await.unwrap();
    eventually("it starts", || (!tally.executions().is_empty()).then_some(()));
    let started = Instant::now();
    let Err(TaskError::Ended(failure)) = bad.result().await else { panic!("{how} came back") };
    let took = started.elapsed();
    assert!(took < BURIED_WITHIN, "{how}: a dead letter only after {took:?}");
    assert_eq!(failure.kind, OutcomeKind::Crashed, "{failure}");
    let results = tokio::time::timeout(crate::PATIENCE, others.collect()).await.expect("they end").unwrap();
    assert!(results.into_iter().eq((0..OTHERS as i64).map(|n| n * n)), "another was harmed");
    tally.worker.drain();
    assert_eq!(tally.executions(), BTreeMap::from([(7, u64::from(CRASHES_MAX))]));
    assert_eq!(tally.worker.log.events(events::CONSUMER_DIED).len(), usize::from(CRASHES_MAX));
    assert_eq!(tally.worker.log.events(events::TASK_BURIED).len(), 1, "whoever judges it says so");
    let letters = client.dead_letters(DeadFilter::default()).await.unwrap().next_page().await.unwrap().unwrap();
    let ids: Vec<_> = letters.iter().map(|dead| dead.id.clone()).collect();
    assert_eq!(ids, [failure.task.to_string()]);
    let certificate = *failure.certificate.expect("a process died");
    let kept = letters[0].letter.epitaph.failure.as_ref().and_then(|failure| failure.certificate.clone());
    assert_eq!(kept.as_deref(), Some(&certificate), "the letter tells the same as the outcome");
    assert_eq!((certificate.cause, certificate.item), (DeathCause::Crash, Some(0)), "{certificate:?}");
    assert!(certificate.peak_rss_bytes.is_some() && certificate.run_ms.is_some(), "{certificate:?}");
    assert!(certificate.host.is_some() && !certificate.consumer.is_empty(), "{certificate:?}");
    certificate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_aborts() {
    let certificate = buries_only_the_bad_one("abort").await;
    assert_eq!((certificate.signal, certificate.exit_code), (Some(Signal::SIGABRT as i32), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_raises_the_signal_of_an_abort() {
    let certificate = buries_only_the_bad_one("raise-abort").await;
    assert_eq!((certificate.signal, certificate.exit_code), (Some(Signal::SIGABRT as i32), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_segfaults() {
    let certificate = buries_only_the_bad_one("segfault").await;
    assert_eq!((certificate.signal, certificate.exit_code), (Some(Signal::SIGSEGV as i32), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_exits_as_if_all_were_well() {
    let certificate = buries_only_the_bad_one("exit-0").await;
    assert_eq!((certificate.signal, certificate.exit_code), (None, Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_overflows_the_stack() {
    let certificate = buries_only_the_bad_one("stack-overflow").await;
    assert_eq!((certificate.signal, certificate.exit_code), (Some(Signal::SIGABRT as i32), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_bad_ones_of_a_chunk_are_found_and_their_neighbours_hardly_notice() {
    // The last of its message, and two in the middle of theirs.
    const BAD: [(u64, &str); 3] = [(1_234, "abort"), (4_095, "exit"), (7_000, "segfault")];
    let redis = Redis::start();
    // One consumer, so that the order is certain: a second could die of another bad one while this one's results
    // are on their way.
    let mut tally = Tally::start(&redis, 1);
    let client = redis.client().await;
    let bad = BTreeMap::from(BAD);
    let tasks: Vec<_> = (0..OTHERS).map(|n| (n, bad.get(&n).copied().unwrap_or_default())).collect();
    let batch = enqueue_chunk(&redis, "tally", &tasks).await;
    let results = results::<u64>(&client, batch).await;
    for (index, result) in results {
        match result {
            Ok(number) => assert_eq!(number, index),
            Err(error) => assert!(bad.contains_key(&index) && kind(&error) == OutcomeKind::Crashed, "{error}"),
        }
    }
    tally.worker.drain();
    for (number, count) in tally.executions() {
        match bad.get(&number) {
            Some(how) => assert_eq!(count, u64::from(CRASHES_MAX), "{number} ({how})"),
            // Once more where the process died before their results were recorded.
            None => assert!(count <= 2, "the neighbour {number} was begun {count} times"),
        }
    }
    let record = one_outcome_each(&client, batch, OTHERS).await;
    assert_eq!((record.count(OutcomeKind::Succeeded), record.count(OutcomeKind::Crashed)), (OTHERS - 3, 3));
    assert_eq!(client.queues().await.unwrap()[0].dead_tasks, 3);
}

/// A chunk of harmless tasks with one bad one in the middle.
fn chunk(bad: &str) -> Vec<&str> {
    let mut chunk = vec!["print"; NEIGHBOURS + 1];
    chunk[NEIGHBOURS / 2] = bad;
    chunk
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
