//! Every verb of the client library on a real worker, failure and timeout included.

mod blocking;
mod handles;
mod maps;
mod options;
mod reopened;
mod together;

use std::future::Future;
use std::time::Duration;

use gristmill::Client;
use gristmill_integration_tests::{Redis, WorkerOptions, WorkerProcess};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Redis, a worker with all kernels, a client.
struct Scene {
    worker: WorkerProcess,
    client: Client,
    redis: Redis,
}

impl Scene {
    async fn start(consumers: usize) -> Self {
        let redis = Redis::start();
        let worker = WorkerOptions::new().consumers(consumers).test_kernels().debug().start(&redis);
        Self { client: redis.client().await, worker, redis }
    }
}

/// Asserts that this does not hang.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}
