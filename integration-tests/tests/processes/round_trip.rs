//! One task and a few, from the shell and from Rust.

use gristmill::SubmitOptions;
use gristmill_integration_tests::{Cli, Redis, WorkerOptions};
use gristmill_kernels::square;

#[test]
fn the_shell_submits_and_gets_the_result() {
    let redis = Redis::start();
    let worker = WorkerOptions::new().start(&redis);
    let cli = Cli::new(&redis);
    gristmill_integration_tests::eventually("the worker offers its kernels", || {
        cli.run(&["kernels"]).ok().contains("square").then_some(())
    });
    assert_eq!(cli.run(&["submit", "square", "7", "--wait"]).ok(), "49\n");
    assert_eq!(cli.run_with(&["map", "square"], "1\n-2\n3\n").ok(), "1\n4\n9\n");
    let id = cli.run(&["submit", "square", "8"]).ok();
    let batch = id.trim().split('.').next().unwrap_or_default();
    assert_eq!(cli.run(&["results", batch, "--wait"]).ok(), "64\n");
    let unknown = cli.run(&["submit", "sqare", "7"]);
    assert_eq!(unknown.code, 5);
    assert!(unknown.stderr.contains("square"), "{}", unknown.stderr);
    let overflow = cli.run(&["submit", "square", "9000000000", "--wait"]);
    assert_eq!((overflow.code, overflow.stdout.as_str()), (1, ""), "{}", overflow.stderr);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_submits_and_gets_the_results() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().consumers(2).start(&redis);
    let client = redis.client().await;
    assert_eq!(client.submit(square, 7).await.unwrap().result().await.unwrap(), 49);
    let squares = client.map(square, -500..500).await.unwrap().collect().await.unwrap();
    assert_eq!(squares, (-500..500).map(|n| n * n).collect::<Vec<i64>>());
    let named = client.submit_dyn::<i64>("square", &12, &SubmitOptions::new()).await.unwrap();
    assert_eq!(named.result().await.unwrap(), 144);
    assert_eq!(client.handle::<i64>(named.id()).result().await.unwrap(), 144, "a result can be read twice");
    assert!(client.submit(square, i64::MAX).await.unwrap().result().await.is_err());
}
