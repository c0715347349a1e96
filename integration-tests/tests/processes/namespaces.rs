//! Two deployments on one Redis know nothing of each other.

use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};
use gristmill_kernels::square;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_namespaces_share_a_redis() {
    let mut redis = Redis::start();
    let _blue = WorkerOptions::new().arg("--namespace blue").start(&redis);
    let mut green = WorkerOptions::new().arg("--namespace green").start(&redis);
    let client = async |namespace: &str| redis.client_builder().namespace(namespace).connect().await.unwrap();
    let (to_blue, to_green) = (client("blue").await, client("green").await);
    assert_eq!(to_blue.submit(square, 2).await.unwrap().result().await.unwrap(), 4);
    assert_eq!(to_green.submit(square, 3).await.unwrap().result().await.unwrap(), 9);
    green.drain();
    let waits = to_green.submit(square, 4).await.unwrap();
    assert_eq!(to_blue.submit(square, 5).await.unwrap().result().await.unwrap(), 25);
    assert_eq!(redis.command::<u64>("LLEN {green}:ready:default"), 1, "blue leaves it alone");
    let cli = Cli::new(&redis).namespace("blue");
    eventually("blue offers its kernels", || cli.run(&["kernels"]).ok().contains("square").then_some(()));
    assert_eq!(cli.run(&["submit", "square", "6", "--wait"]).ok(), "36\n");
    assert_eq!(to_blue.workers().await.unwrap().len(), 1);
    assert_eq!(to_green.workers().await.unwrap().len(), 0);
    let _green = WorkerOptions::new().arg("--namespace green").start(&redis);
    assert_eq!(waits.result().await.unwrap(), 16);
    let strangers: Vec<_> = redis.matching("*").into_iter().filter(|key| !is_ours(key)).collect();
    assert_eq!(strangers, [""; 0]);
}

fn is_ours(key: &str) -> bool {
    key.starts_with("{blue}:") || key.starts_with("{green}:")
}
