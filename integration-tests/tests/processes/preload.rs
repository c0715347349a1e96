//! Preload runs once, and all consumers share what it loaded.

use std::collections::BTreeSet;

use gristmill::SubmitOptions;
use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_shared::events;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preload_runs_once_for_all_consumers() {
    let redis = Redis::start();
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let worker = WorkerOptions::new()
        .program(env!("CARGO_BIN_EXE_odd-worker"))
        .variable("PRELOAD_TRACE", trace.to_str().unwrap())
        .consumers(3)
        .start(&redis);
    let client = redis.client().await;
    let mut pids = BTreeSet::new();
    for _ in 0..10 {
        let map = client.map_dyn::<(u32, u32), _>("loaded", [50; 12], &SubmitOptions::new()).await.unwrap();
        for (value, pid) in map.collect().await.unwrap() {
            assert_eq!(value, 42);
            pids.insert(pid);
        }
        if pids.len() == 3 {
            break;
        }
    }
    assert_eq!(pids.len(), 3, "all consumers have answered");
    assert!(!pids.contains(&(worker.supervisor.pid as u32)));
    assert_eq!(std::fs::read_to_string(&trace).unwrap(), format!("{}\n", worker.supervisor.pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_loaded_counts_against_no_limit() {
    let redis = Redis::start();
    let worker = WorkerOptions::new().program(env!("CARGO_BIN_EXE_odd-worker"));
    let mut worker =
        worker.variable("PRELOAD_BYTES", (300 << 20).to_string()).arg("--memory-limit 64MiB").start(&redis);
    let client = redis.client().await;
    // Long enough to be looked at, and with two tasks, since a consumer that holds too much leaves between them.
    let map = client.map_dyn::<(u32, u32), _>("loaded", [150; 2], &SubmitOptions::new()).await.unwrap();
    let pids: BTreeSet<u32> = map.collect().await.unwrap().into_iter().map(|(_, pid)| pid).collect();
    worker.drain();
    assert_eq!((pids.len(), worker.log.events(events::CONSUMER_RECYCLED).len()), (1, 0));
}
