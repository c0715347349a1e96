//! Consumers that make room for fresh ones, under load: nothing is lost, nothing runs twice.

use gristmill_integration_tests::{Redis, WorkerOptions, WorkerProcess, eventually};
use gristmill_kernels::square;
use gristmill_kernels::test_kernels::overrun;
use gristmill_shared::events;

use crate::one_outcome_each;

const CONSUMERS: usize = 2;

/// How many consumers made room; asserts that all others are still the first.
fn recycled(worker: &mut WorkerProcess) -> usize {
    worker.drain();
    let recycled = worker.log.events(events::CONSUMER_RECYCLED).len();
    assert_eq!(worker.log.events(events::CONSUMER_STARTED).len(), CONSUMERS + recycled);
    assert_eq!(worker.log.events(events::CONSUMER_DIED).len(), 0);
    recycled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_so_many_tasks() {
    const TASKS: u64 = 10_000;
    const EACH: u64 = 500;
    let mut redis = Redis::start();
    let options = WorkerOptions::new().consumers(CONSUMERS).arg("--lease 600s");
    let mut worker = options.arg(&format!("--max-tasks-per-consumer {EACH}")).start(&redis);
    let client = redis.client().await;
    let batch = client.map(square, 0..TASKS as i64).await.unwrap();
    let id = batch.id();
    assert_eq!(batch.collect().await.unwrap(), (0..TASKS as i64).map(|n| n * n).collect::<Vec<_>>());
    one_outcome_each(&client, id, TASKS).await;
    // Every process but the last of each place has run exactly as many as it may.
    let least = (TASKS / EACH) as usize - CONSUMERS + 1;
    let told = eventually("the worker tells so", || {
        let key = redis.matching("{gm}:worker:*").pop()?;
        redis.command::<Option<usize>>(&format!("HGET {key} recycled")).filter(|&told| told >= least)
    });
    let found = recycled(&mut worker);
    assert!((least..=(TASKS / EACH) as usize).contains(&found), "{found}");
    assert!(told <= found);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_so_much_memory() {
    const TASKS: usize = 80;
    let redis = Redis::start();
    let options = WorkerOptions::new().consumers(CONSUMERS).test_kernels().arg("--lease 600s");
    let mut worker = options.arg("--max-memory-per-consumer 40MiB").start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace").display().to_string();
    let batch = client.map(overrun, vec![("leak".to_owned(), trace.clone()); TASKS]).await.unwrap();
    assert_eq!(batch.collect().await.unwrap().len(), TASKS);
    assert_eq!(std::fs::read_to_string(trace).unwrap().lines().count(), TASKS, "each is executed once");
    // 320 MiB were left behind, and a look now and then lets a few more in.
    let found = recycled(&mut worker);
    assert!((2..=8).contains(&found), "{found}");
}
