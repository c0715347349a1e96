//! What Redis may forget, and that what it still knows is sound.

use std::collections::BTreeSet;
use std::time::Duration;

use gristmill::{Client, SubmitOptions};
use gristmill_embedded::EmbeddedOptions;
use gristmill_integration_tests::{Cli, DeployedRedis, WorkerOptions};
use gristmill_kernels::square;

const PATIENCE: Duration = Duration::from_secs(60);
const TASKS: i64 = 60_000;
/// Some calls of clients and consumers.
const LOST_BYTES: u64 = 20_000;

/// Takes results until there are so many; each is right and comes once.
async fn take(map: &mut gristmill::Unordered<i64>, seen: &mut BTreeSet<u64>, until: usize) {
    while seen.len() < until {
        let next = tokio::time::timeout(PATIENCE, map.next()).await.expect("results go on to come");
        let (index, result) = next.unwrap_or_else(|| panic!("the map ended after {} results", seen.len()));
        assert_eq!(result.unwrap(), (index * index) as i64);
        assert!(seen.insert(index), "the result {index} came twice");
    }
}

/// The end of the append-only file is gone: enqueued, claimed and settled tasks are forgotten, while client and
/// workers remember them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_and_workers_survive_what_a_power_cut_takes_from_redis() {
    let mut redis = DeployedRedis::start();
    // Consumers that Redis takes for living again hold their tasks that long.
    let mut worker = WorkerOptions::new().consumers(2).arg("--lease 3s").start_at(&redis.url());
    let client = Client::connect(redis.url()).await.unwrap();
    let mut map = client.map(square, 0..TASKS).await.unwrap().unordered();
    let (batch, mut seen) = (map.id(), BTreeSet::new());
    for cut in 1..=2 {
        take(&mut map, &mut seen, cut * 3_000).await;
        let reached_the_disk = redis.written();
        // Results come in bursts: the client may have some that were written before.
        while redis.written() < reached_the_disk + LOST_BYTES {
            let more = seen.len() + 1;
            take(&mut map, &mut seen, more).await;
        }
        redis.lose_power(reached_the_disk);
    }
    take(&mut map, &mut seen, TASKS as usize).await;
    assert!(map.next().await.is_none());
    let record = client.batch_record(batch).await.unwrap().expect("the batch is there");
    assert_eq!((record.total, record.ended()), (Some(TASKS as u64), TASKS as u64), "{record:?}");
    worker.drain();
    let faults = Cli::at(&redis.url()).run(&["fsck", "--json"]);
    assert_eq!((faults.stdout.as_str(), faults.code), ("[]\n", 0), "{}", faults.stderr);
}

/// With snapshots only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_lose_everything_since_the_last_one() {
    let directory = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions::new().dir(directory.path()).extra("save", "3600 1");
    let mut redis = options.start().unwrap();
    let client = Client::connect(redis.url()).await.unwrap();
    let one_each = SubmitOptions::new().chunk(1);
    let enqueue = async |tasks| client.map_with(square, 0..tasks, &one_each).await.unwrap().detach().await.unwrap();
    let depth = |url: &str| {
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        redis::cmd("LLEN").arg("{gm}:ready:default").query::<u64>(&mut connection).unwrap()
    };
    let kept = enqueue(10).await;
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    redis::cmd("SAVE").query::<()>(&mut connection).unwrap();
    let lost = enqueue(5).await;
    assert_eq!(depth(&redis.url()), 15);
    redis.kill();
    redis.restart().unwrap();
    assert_eq!(depth(&redis.url()), 10);
    assert!(client.batch_record(lost).await.unwrap().is_none());
    let mut worker = WorkerOptions::new().start_at(&redis.url());
    let mut results = client.results(kept);
    let mut count = 0;
    while let Some(item) = results.next().await {
        item.expect("the batch is there").1.expect("a square");
        count += 1;
    }
    assert_eq!(count, 10);
    worker.drain();
}
