//! `docs/cookbook.md`: what it shows is run here. Its Rust stands in these files word for word, its shell and its
//! Python are taken from the page.

mod celery;
mod executor;
mod page;
mod pool;
mod recipes;
mod shell;
mod tables;

use std::error::Error;

use gristmill::Client;
use gristmill_integration_tests::{Redis, WorkerOptions, WorkerProcess};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A Redis, a worker with two consumers and all kernels, a client.
struct Scene {
    client: Client,
    /// Ends before its Redis does.
    _worker: WorkerProcess,
    redis: Redis,
}

impl Scene {
    async fn start() -> Self {
        let redis = Redis::start();
        let options = WorkerOptions::new().consumers(2).test_kernels().arg("--allow-exec *");
        let worker = options.start(&redis);
        Self { client: redis.client().await, _worker: worker, redis }
    }
}
