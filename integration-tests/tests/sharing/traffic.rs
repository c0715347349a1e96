//! How often shared input moves.

use std::collections::BTreeSet;

use gristmill::SubmitOptions;
use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_kernels::test_kernels::sum_shared;

use crate::{MIB, noise, parts, sum};

/// Bytes that went through Redis.
fn moved(redis: &mut Redis) -> (f64, f64) {
    let info: String = redis.command("INFO stats");
    let number = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).expect("a counter");
        line.trim().parse::<f64>().expect("a number")
    };
    (number("total_net_input_bytes:"), number("total_net_output_bytes:"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_consumer_fetches_it_once() {
    const CONSUMERS: usize = 2;
    const TASKS: usize = 400;
    let mut redis = Redis::start();
    let _worker = WorkerOptions::new().consumers(CONSUMERS).test_kernels().start(&redis);
    let client = redis.client().await;
    let bytes = noise(32 * MIB);
    let slice = bytes.len() / TASKS;
    let expected: Vec<u64> = bytes.chunks_exact(slice).take(TASKS).map(sum).collect();
    let size = bytes.len() as f64;
    let before = moved(&mut redis);
    let options = SubmitOptions::new().shared_bytes(bytes).chunk(1);
    let items = (0..TASKS as u64).map(|n| (n * slice as u64, slice as u64)).collect::<Vec<_>>();
    let results = client.map_with(sum_shared, items, &options).await.unwrap().collect().await.unwrap();
    let after = moved(&mut redis);
    let (sums, processes): (Vec<_>, BTreeSet<_>) = results.into_iter().unzip();
    assert_eq!(sums, expected);
    assert_eq!(processes.len(), CONSUMERS, "the tasks are many enough for all");
    let (taken, given) = (after.0 - before.0, after.1 - before.1);
    assert!((size..1.1 * size).contains(&taken), "uploaded once: {taken} of {size} bytes");
    let fetched = given / size / CONSUMERS as f64;
    assert!((1.0..1.1).contains(&fetched), "each consumer fetched it {fetched} times");
    assert!(parts(&mut redis).is_empty(), "who has all results needs the input no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_packed_is_packed() {
    let mut redis = Redis::start();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    // Each word has a few bits that change.
    let bytes: Vec<u8> = (0..5 * MIB as u32).flat_map(|n| (n / 64).to_be_bytes()).collect();
    let expected = [sum(&bytes[..100]), sum(&bytes[17 * MIB..])];
    let size = bytes.len();
    let before = moved(&mut redis);
    let options = SubmitOptions::new().shared_bytes(bytes);
    let items = vec![(0, 100), (17 * MIB as u64, 3 * MIB as u64)];
    let results = client.map_with(sum_shared, items, &options).await.unwrap().collect().await.unwrap();
    let (taken, given) = moved(&mut redis);
    assert_eq!(results.into_iter().map(|(sum, _)| sum).collect::<Vec<_>>(), expected);
    for moved in [taken - before.0, given - before.1] {
        assert!(moved < 0.3 * size as f64, "{moved} of {size} bytes");
    }
}
