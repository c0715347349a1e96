//! A private Redis and workers on it, for the commands that bring their own: `dev` and `demo`.
//!
//! All of it ends with this process, however that ends. Who starts both declares the Redis first, so
//! that the worker is dropped, and thereby ended, before it.

mod find;
mod worker;

use std::path::Path;
use std::time::Duration;

use gristmill::Client;
use gristmill_embedded::{AppendOnly, EmbeddedError, EmbeddedOptions, EmbeddedRedis};

pub use self::find::{Program, find_worker};
pub use self::worker::{Log, Worker, WorkerOptions};
use crate::exit::Exit;

/// A Redis of our own.
pub struct Private {
    redis: EmbeddedRedis,
    namespace: String,
}

impl Private {
    /// Starts Redis and waits until it answers. Its data stands in `persist`, and stays there; without it
    /// the data goes with Redis.
    pub fn start(namespace: &str, persist: Option<&Path>) -> Result<Self, Exit> {
        let mut options = EmbeddedOptions::new();
        if let Some(dir) = persist {
            options = options.appendonly(AppendOnly::EverySecond).dir(dir);
        }
        let redis = options.start()?;
        Ok(Self { redis, namespace: namespace.to_owned() })
    }

    /// Where to connect to.
    pub fn url(&self) -> String {
        self.redis.url()
    }

    /// The socket, for `redis-cli -s`.
    pub fn socket(&self) -> &Path {
        self.redis.socket_path()
    }

    /// A client of this Redis.
    pub async fn connect(&self) -> Result<Client, Exit> {
        // It answered a moment ago: whoever does not answer now is gone.
        let reach = Duration::from_secs(5);
        let client = Client::builder().endpoint(self.url()).namespace(&self.namespace).reach(reach).patience(reach);
        Ok(client.connect().await?)
    }

    /// Starts a worker on this Redis.
    pub fn worker(&self, program: &Program, options: &WorkerOptions) -> Result<Worker, Exit> {
        Worker::start(program, &self.url(), &self.namespace, options)
    }

    /// Whether Redis is there; if not, a line that says so.
    pub fn check(&mut self) -> Result<(), Exit> {
        if self.redis.is_running() {
            return Ok(());
        }
        Err(Exit::new(Exit::REDIS, "the private Redis has ended, and nobody here has ended it"))
    }

    /// Waits until so many consumers hold a lease, and the kernels of `worker` are listed.
    pub async fn wait_ready(&mut self, client: &Client, worker: &mut Worker, consumers: u64) -> Result<(), Exit> {
        loop {
            self.check()?;
            worker.check()?;
            if client.live_consumers().await? >= consumers && !client.kernels().await?.is_empty() {
                worker.is_ready();
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl From<EmbeddedError> for Exit {
    fn from(error: EmbeddedError) -> Self {
        // A directory is named by whoever starts us; all else is about a Redis that is not there.
        let code = if matches!(error, EmbeddedError::Directory { .. }) { Self::USAGE } else { Self::REDIS };
        Self::new(code, error.to_string())
    }
}
