//! Redis with `deploy/redis.conf`.

use gristmill::{Client, SubmitOptions};
use gristmill_integration_tests::{Cli, DeployedRedis, WorkerOptions, eventually};
use gristmill_kernels::square;
use gristmill_shared::connection::Endpoint;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_starts_with_the_shipped_configuration_and_serves_a_worker() {
    let redis = DeployedRedis::start();
    for (name, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("no-appendfsync-on-rewrite", "no"),
        ("save", ""),
        ("maxmemory", "4294967296"),
        ("maxmemory-policy", "noeviction"),
        ("protected-mode", "yes"),
        ("timeout", "0"),
        ("tcp-keepalive", "60"),
        ("lazyfree-lazy-expire", "yes"),
    ] {
        assert_eq!(redis.setting(name), value, "{name}");
    }
    let mut worker = WorkerOptions::new().consumers(2).start_at(&redis.url());
    let client = Client::connect(redis.url()).await.unwrap();
    let squares = client.map(square, 0..1_000).await.unwrap().collect().await.unwrap();
    assert_eq!(squares, (0..1_000).map(|n| n * n).collect::<Vec<i64>>());
    worker.drain();
}

#[test]
fn doctor_finds_nothing_wrong_with_the_shipped_configuration() {
    let redis = DeployedRedis::start();
    let _worker = WorkerOptions::new().start_at(&redis.url());
    let cli = Cli::at(&redis.url());
    eventually("the worker is listed", || (cli.run(&["workers", "--json"]).ok() != "[]\n").then_some(()));
    let output = cli.run(&["doctor", "--json"]);
    let lines: Vec<serde_json::Value> = serde_json::from_str(&output.stdout).unwrap();
    let bad: Vec<_> = lines.iter().filter(|line| line["level"] != "ok" && !of_the_machine(line)).collect();
    assert!(bad.is_empty() && lines.len() > 5, "{bad:#?}");
}

/// A busy machine answers late; that is no fault of the configuration.
fn of_the_machine(line: &serde_json::Value) -> bool {
    matches!(line["check"].as_str(), Some("latency" | "clock" | "slow scripts"))
}

#[test]
fn nobody_gets_in_without_the_password() {
    let redis = DeployedRedis::start();
    let stranger = redis.url().split_once('@').map(|(_, address)| format!("redis://{address}")).unwrap();
    assert!(!Endpoint::parse(&stranger).unwrap().has_password());
    let mut connection = redis::Client::open(stranger).unwrap().get_connection().unwrap();
    let error = redis::cmd("PING").query::<String>(&mut connection).unwrap_err();
    assert_eq!(error.code(), Some("NOAUTH"), "{error}");
}

/// `appendfsync everysec`: what was answered has been written, though it may not have reached the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_with_the_shipped_configuration_loses_nothing() {
    let mut redis = DeployedRedis::start();
    let client = Client::connect(redis.url()).await.unwrap();
    let one_each = SubmitOptions::new().chunk(1);
    let batch = client.map_with(square, 0..2_000, &one_each).await.unwrap().detach().await.unwrap();
    redis.crash_and_restart();
    assert_eq!(redis.command::<u64>(&["LLEN", "{gm}:ready:default"]), 2_000);
    let mut worker = WorkerOptions::new().start_at(&redis.url());
    let mut results = client.results(batch);
    let mut count = 0;
    while let Some(item) = results.next().await {
        let (_, output) = item.expect("the batch is there");
        output.expect("a square");
        count += 1;
    }
    assert_eq!(count, 2_000);
    worker.drain();
}
