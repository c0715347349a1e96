//! What shared input may take in a consumer, and that nobody else is charged with it.

use std::collections::BTreeSet;

use gristmill::{OutcomeKind, SubmitOptions};
use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_kernels::test_kernels::sum_shared;
use gristmill_shared::events;

use crate::{MIB, ended, noise};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_no_reason_to_end_a_task_or_to_recycle_a_consumer() {
    let redis = Redis::start();
    let options = WorkerOptions::new().test_kernels().arg("--memory-limit 64MiB --max-memory-per-consumer 40MiB");
    let mut worker = options.arg("--shared-cache 128MiB").start(&redis);
    let client = redis.client().await;
    let shared = SubmitOptions::new().shared_bytes(noise(72 * MIB)).chunk(1);
    let map = client.map_with(sum_shared, (0..100).map(|n| (n, 1)).collect::<Vec<_>>(), &shared).await.unwrap();
    let processes: BTreeSet<u32> = map.collect().await.unwrap().into_iter().map(|(_, process)| process).collect();
    assert_eq!(processes.len(), 1, "it was not recycled: {processes:?}");
    worker.drain();
    assert_eq!(worker.log.events(events::CONSUMER_RECYCLED).len(), 0);
    assert_eq!(worker.log.events(events::CONSUMER_DIED).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_worker_has_does_not_start() {
    let redis = Redis::start();
    let options = WorkerOptions::new().test_kernels().arg("--memory-limit 64MiB");
    let _worker = options.arg("--shared-cache 32MiB").start(&redis);
    let client = redis.client().await;
    let shared = SubmitOptions::new().shared_bytes(noise(65 * MIB));
    let failure = ended(client.submit_with(sum_shared, (0, 1), &shared).await.unwrap().result().await);
    assert_eq!(failure.kind, OutcomeKind::OutOfMemory);
    assert!(
        failure.message.contains("not started: its shared input takes") && failure.message.contains("64MiB"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_used_least_lately_goes() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().test_kernels().debug().arg("--shared-cache 20MiB").start(&redis);
    let client = redis.client().await;
    let mut maps = Vec::new();
    for _ in 0..3 {
        let shared = SubmitOptions::new().shared_bytes(noise(9 * MIB));
        let (items, source) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
        let source = futures::stream::unfold(source, async |mut source| Some((source.recv().await?, source)));
        let map = client.map_raw(&gristmill::KernelName::new("shared.sum").unwrap(), source, &shared).await.unwrap();
        maps.push((map, items));
    }
    // The third does not fit beside two others: the first goes, for it was used least lately.
    for turn in [0, 1, 1, 2, 1, 2, 0, 0] {
        let (map, items) = &mut maps[turn];
        items.send(gristmill_shared::codec::encode(&(0u64, 1u64)).unwrap()).unwrap();
        map.next().await.unwrap().unwrap();
    }
    drop(maps);
    worker.drain();
    let fetched = worker.log.all(|line| line.text("message") == "fetched shared input");
    assert_eq!(fetched.len(), 4, "the first was fetched again: {fetched:#?}");
}
