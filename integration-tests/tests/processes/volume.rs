//! Many tasks, each checked.

use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_kernels::square;

use crate::one_outcome_each;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_results_are_all_right() {
    const TASKS: i64 = 100_000;
    let redis = Redis::start();
    let _workers = [(); 2].map(|()| WorkerOptions::new().consumers(2).start(&redis));
    let client = redis.client().await;
    let mut map = client.map(square, 0..TASKS).await.unwrap();
    let batch = map.id();
    for n in 0..TASKS {
        assert_eq!(map.next().await.unwrap().unwrap(), n * n);
    }
    assert!(map.next().await.is_none());
    one_outcome_each(&client, batch, TASKS as u64).await;
}
