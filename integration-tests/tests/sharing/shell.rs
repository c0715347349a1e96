//! Shared input on the command line.

use gristmill_integration_tests::{Cli, Redis, WorkerOptions};

use crate::{MIB, noise, parts, sum};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_shared_by_all_tasks() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let (cli, folder) = (Cli::new(&redis), tempfile::tempdir().unwrap());
    let table = folder.path().join("table.json");
    std::fs::write(&table, r#"{"a": 1, "b": {"c": [2, null]}}"#).unwrap();
    let table = table.display().to_string();
    let found = cli.run_with(&["map", "shared.lookup", "--shared", &table], "\"b\"\n\"x\"\n\"a\"\n").ok();
    assert_eq!(found, "{\"c\":[2,null]}\nnull\n1\n");
    let bytes = noise(9 * MIB);
    let data = folder.path().join("data");
    std::fs::write(&data, &bytes).unwrap();
    let args = format!("[{}, 1000]", 8 * MIB);
    let args = ["submit", "shared.sum", &args, "--shared-bytes", &data.display().to_string(), "--wait"];
    let found = cli.run(&args).ok();
    assert!(found.starts_with(&format!("[{},", sum(&bytes[8 * MIB..8 * MIB + 1000]))), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_shared_or_is_gone_is_told_in_one_line() {
    let mut redis = Redis::start();
    let (cli, folder) = (Cli::new(&redis), tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    std::fs::write(&data, noise(9 * MIB)).unwrap();
    let data = data.display().to_string();
    let submit = ["submit", "shared.sum", "[0, 1]", "--shared-bytes", &data];
    redis.command::<()>(&format!("CONFIG SET maxmemory {}", 10 * MIB));
    let refused = cli.run(&submit);
    assert_eq!(refused.code, 6, "{}", refused.stderr);
    assert!(refused.stderr.contains("the shared input takes 9"), "{}", refused.stderr);
    redis.command::<()>("CONFIG SET maxmemory 0");
    let task = cli.run(&submit).ok();
    let task = task.trim();
    for part in parts(&mut redis) {
        redis.command::<()>(&format!("DEL {part}"));
    }
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let failed = cli.run(&["results", task, "--wait"]);
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    assert!(failed.stdout.contains("its shared input is gone"), "{} {}", failed.stdout, failed.stderr);
    let retried = cli.run(&["dead", "retry", task]);
    assert_eq!((retried.code, retried.stderr.lines().count()), (5, 1), "{}", retried.stderr);
    assert!(
        retried.stderr.contains("shared input") && retried.stderr.contains("not kept for dead letters"),
        "{}",
        retried.stderr
    );
}
