//! What the steps of the demo work with: the private Redis, the worker, and ways to look at both.

use std::path::Path;
use std::time::{Duration, Instant};

use gristmill::shared::connection::{Timeouts, connect};
use gristmill::shared::{ConsumerId, Header};
use gristmill::{Client, ClientError, ConsumerLine, Lane, QueueName};
use redis::aio::MultiplexedConnection;

use super::scale::Scale;
use crate::exit::Exit;
use crate::private::{Log, Private, Program, Worker, WorkerOptions};

/// Between two looks at what the worker has published.
const LOOK: Duration = Duration::from_millis(20);
/// A worker publishes what it is and does every 2 seconds.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(5);

/// Everything that the demo has started.
pub struct Mill {
    /// The producer's side.
    pub client: Client,
    /// How much work there is.
    pub scale: Scale,
    /// Consumers of the worker.
    pub consumers: usize,
    /// A connection to look with.
    redis: MultiplexedConnection,
    program: Program,
    // Ends before its Redis does.
    worker: Worker,
    private: Private,
}

/// A consumer, and its process.
#[derive(Debug, Clone)]
pub struct Consumer {
    pub id: ConsumerId,
    pub pid: u32,
}

impl Mill {
    /// Starts Redis and the worker, and waits until all consumers work.
    pub async fn start(program: Program, namespace: &str, quick: bool) -> Result<Self, Exit> {
        let mut private = Private::start(namespace, None)?;
        let consumers = std::thread::available_parallelism().map_or(1, usize::from);
        let options = options(consumers, None);
        let mut worker = private.worker(&program, &options)?;
        let client = private.connect().await?;
        private.wait_ready(&client, &mut worker, consumers as u64).await?;
        let redis = connect(client.endpoint(), &Timeouts::default()).await.map_err(ClientError::from)?;
        let scale = Scale::measure(quick);
        Ok(Self { client, scale, consumers, redis, program, worker, private })
    }

    /// The socket of the private Redis.
    pub fn socket(&self) -> &Path {
        self.private.socket()
    }

    /// Pid of the worker's supervisor.
    pub fn worker_pid(&self) -> u32 {
        self.worker.pid()
    }

    /// Starts a second worker with one consumer on a queue of its own.
    pub async fn second_worker(&mut self, queue: &QueueName) -> Result<Worker, Exit> {
        let mut worker = self.private.worker(&self.program, &options(1, Some(queue)))?;
        let consumers = self.consumers as u64 + 1;
        self.private.wait_ready(&self.client, &mut worker, consumers).await?;
        Ok(worker)
    }

    /// The consumers of a worker, by the pid of its supervisor, once it has published all of them.
    pub async fn consumers_of(&self, supervisor: u32, count: usize) -> Result<Vec<Consumer>, Exit> {
        loop {
            let found = self.published(supervisor).await?;
            if found.len() == count {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The process of a consumer, once its worker has published it; none if it does not.
    pub async fn pid_of(&self, supervisor: u32, consumer: ConsumerId) -> Result<Option<u32>, Exit> {
        let deadline = Instant::now() + PUBLISHED_WITHIN;
        while Instant::now() < deadline {
            let published = self.published(supervisor).await?;
            if let Some(found) = published.iter().find(|found| found.id == consumer) {
                return Ok(Some(found.pid));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(None)
    }

    async fn published(&self, supervisor: u32) -> Result<Vec<Consumer>, Exit> {
        let workers = self.client.workers().await?;
        let worker = workers.iter().find(|worker| worker.fields.get("pid") == Some(&supervisor.to_string()));
        let read = |line: &ConsumerLine| {
            let pid = u32::try_from(line.number("pid")?).ok()?;
            (line.state != "starting").then_some(Consumer { id: line.id.parse().ok()?, pid })
        };
        Ok(worker.map(ConsumerLine::all).unwrap_or_default().iter().filter_map(read).collect())
    }

    /// Consumers that hold a lease.
    pub async fn leases(&mut self) -> Result<Vec<ConsumerId>, Exit> {
        let key = self.client.keys().leases();
        let ids: Vec<String> = self.ask(redis::cmd("ZRANGE").arg(key).arg(0).arg(-1)).await?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Headers of the messages that a consumer holds.
    pub async fn held_by(&mut self, consumer: ConsumerId) -> Result<Vec<Header>, Exit> {
        let key = self.client.keys().inflight(consumer);
        let messages: Vec<Vec<u8>> = self.ask(redis::cmd("LRANGE").arg(key).arg(0).arg(-1)).await?;
        Ok(messages.iter().filter_map(|message| Some(Header::parse(message).ok()?.0)).collect())
    }

    /// The key that a person asks for to see the depth of the default queue.
    pub fn depth_key(&self) -> String {
        self.client.keys().ready(self.client.queue(), Lane::Normal)
    }

    /// The length of that list.
    pub async fn depth(&mut self) -> Result<u64, Exit> {
        let key = self.depth_key();
        self.ask(redis::cmd("LLEN").arg(key)).await
    }

    async fn ask<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, Exit> {
        command
            .query_async(&mut self.redis)
            .await
            .map_err(|error| Exit::new(Exit::REDIS, format!("the private Redis does not answer: {error}")))
    }

    /// Ends the worker with what it runs, then Redis.
    pub async fn stop(mut self) {
        self.worker.stop().await;
    }
}

fn options(consumers: usize, queue: Option<&QueueName>) -> WorkerOptions {
    WorkerOptions {
        consumers: Some(consumers),
        queues: queue.map(ToString::to_string),
        grace: Duration::from_secs(2),
        log: Log::Errors,
    }
}
