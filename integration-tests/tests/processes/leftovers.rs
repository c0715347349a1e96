//! When everything has ended and expired, nothing is left.

use std::time::Duration;

use gristmill::SubmitOptions;
use gristmill_integration_tests::{Redis, WorkerOptions, eventually};
use gristmill_kernels::square;

/// Keys without a TTL that describe the deployment, not its tasks. Their size does not grow with use.
const LASTING: [&str; 4] = ["{gm}:clock", "{gm}:queues", "{gm}:kernels", "{gm}:queue:default"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_vanish_and_nothing_else_stays() {
    let mut redis = Redis::start();
    let mut worker = WorkerOptions::new().consumers(2).start(&redis);
    let client = redis.client().await;
    let short = SubmitOptions::new().result_ttl(Duration::from_secs(1));
    assert_eq!(client.submit_with(square, 3, &short).await.unwrap().result().await.unwrap(), 9);
    let many = client.map_with(square, 0..20_000, &short).await.unwrap();
    assert_eq!(many.collect().await.unwrap().len(), 20_000);
    let left = client.map_with(square, 0..500, &short).await.unwrap().detach().await.unwrap();
    assert_eq!(crate::results::<i64>(&client, left).await.len(), 500);
    for pattern in ["{gm}:batch:*", "{gm}:results:*", "{gm}:runs:*", "{gm}:batches"] {
        eventually(pattern, || redis.matching(pattern).is_empty().then_some(()));
    }
    worker.drain();
    redis.assert_no_consumers();
    for key in redis.matching("*").into_iter().filter(|key| !LASTING.contains(&key.as_str())) {
        assert_ne!(redis.command::<i64>(&format!("PTTL {key}")), -1, "{key} would stay for ever");
    }
    for counter in ["ready_tasks", "running_tasks", "scheduled_tasks", "dead_tasks", "parked_tasks"] {
        let count: Option<i64> = redis.command(&format!("HGET {{gm}}:queue:default {counter}"));
        assert_eq!(count.unwrap_or(0), 0, "{counter}");
    }
}
