//! A private Redis, a worker, and the few calls that a producer needs.

use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use gristmill_broker::{BatchRecord, BatchState, Broker, Enqueue, Enqueued, QueueStats};
use gristmill_embedded::EmbeddedRedis;
use gristmill_shared::codec;
use gristmill_shared::message::{BODY_VERSION, BlobRef, Body, FLAG_BLOB, FLAG_SINGLE, TaskOptions};
use gristmill_shared::outcome::decode_run;
use gristmill_shared::{BatchId, Header, Keys, Lane, Message, Namespace, Outcome, OutcomeKind, QueueName};
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use serde_bytes::ByteBuf;

const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that a test needs; ends what it started.
pub struct Rig {
    pub redis: EmbeddedRedis,
    pub worker: Option<Child>,
    pub broker: Broker,
    pub conn: MultiplexedConnection,
    pub queue: QueueName,
}

/// What to submit.
pub struct Submit<'a> {
    pub kernel: &'a str,
    pub per_message: usize,
    pub options: TaskOptions,
    pub blob: bool,
}

impl<'a> Submit<'a> {
    pub fn to(kernel: &'a str) -> Self {
        Self { kernel, per_message: 1, options: TaskOptions::default(), blob: false }
    }
}

pub async fn connect(redis: &EmbeddedRedis) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url().as_str()).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

impl Rig {
    /// A worker with so many consumers.
    pub async fn start(consumers: usize) -> Self {
        let mut rig = Self::without_worker().await;
        rig.start_worker(consumers, &[]);
        rig
    }

    pub async fn without_worker() -> Self {
        Self::with(EmbeddedRedis::start().unwrap()).await
    }

    pub async fn with(redis: EmbeddedRedis) -> Self {
        let conn = connect(&redis).await;
        let broker = Broker::new(&Namespace::new("gm").unwrap());
        Self { redis, worker: None, broker, conn, queue: QueueName::new("default").unwrap() }
    }

    pub fn start_worker(&mut self, consumers: usize, more: &[&str]) {
        self.worker = Some(worker(&self.redis.url(), consumers, more));
    }

    /// Submits all tasks of a batch in one call.
    pub async fn submit<T: Serialize>(&mut self, what: &Submit<'_>, args: &[T]) -> BatchId {
        let batch = BatchId::new();
        let args: Vec<_> = args.iter().map(|arg| ByteBuf::from(codec::encode(arg).unwrap())).collect();
        let blob = self.put_arguments(what, batch, &args).await;
        let messages: Vec<_> = args
            .chunks(what.per_message)
            .enumerate()
            .map(|(n, chunk)| self.message(what, batch, n * what.per_message, chunk, blob.as_ref(), args.len() == 1))
            .collect();
        let call = Enqueue {
            batch,
            seq: 0,
            seal: true,
            single: args.len() == 1,
            kernel: what.kernel,
            queue: &self.queue,
            lane: Lane::Normal,
            messages: &messages,
            due_at_ms: None,
            result_ttl: Duration::from_secs(600),
            result_bytes: gristmill_shared::defaults::RESULT_BYTES_MAX,
            blobs: &blob.iter().flat_map(|blob| self.broker.blob_keys(batch, blob)).collect::<Vec<_>>(),
            once: None,
            fields: &[],
        };
        let enqueued = self.broker.enqueue(&mut self.conn, &call).await.unwrap();
        assert!(matches!(enqueued, Enqueued::Done { .. }), "{enqueued:?}");
        batch
    }

    async fn put_arguments(&mut self, what: &Submit<'_>, batch: BatchId, args: &[ByteBuf]) -> Option<BlobRef> {
        if !what.blob {
            return None;
        }
        let bytes = codec::encode(args).unwrap();
        Some(self.broker.put_blob(&mut self.conn, batch, "a0", &bytes, Duration::from_secs(3600)).await.unwrap())
    }

    fn message(
        &self,
        what: &Submit<'_>,
        batch: BatchId,
        first: usize,
        args: &[ByteBuf],
        blob: Option<&BlobRef>,
        single: bool,
    ) -> Vec<u8> {
        let flags = if single { FLAG_SINGLE } else { 0 } | if blob.is_some() { FLAG_BLOB } else { 0 };
        let header = Header {
            version: BODY_VERSION,
            flags,
            lane: Lane::Normal,
            attempt: 1,
            crashes: 0,
            losses: 0,
            expires_at_ms: 4_000_000_000_000,
            batch,
            first: first as u64,
            count: args.len() as u32,
            blob_offset: if blob.is_some() { first as u32 } else { 0 },
            queue: self.queue.clone(),
        };
        let inline = if blob.is_some() { Vec::new() } else { args.to_vec() };
        let body = Body {
            kernel: what.kernel.to_owned(),
            args: inline,
            blob: blob.cloned(),
            options: what.options.clone(),
            ..Body::default()
        };
        Message::new(header, &body).unwrap().encode().unwrap()
    }

    pub async fn record(&mut self, batch: BatchId) -> BatchRecord {
        self.broker.batch_record(&mut self.conn, batch).await.unwrap().unwrap()
    }

    pub async fn stats(&mut self) -> QueueStats {
        self.broker.queue_stats(&mut self.conn, &self.queue).await.unwrap()
    }

    /// Waits until `done` is true of the batch.
    pub async fn until(&mut self, batch: BatchId, done: impl Fn(&BatchRecord) -> bool) -> BatchRecord {
        let begun = Instant::now();
        loop {
            let record = self.record(batch).await;
            if done(&record) {
                return record;
            }
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {record:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn finished(&mut self, batch: BatchId) -> BatchRecord {
        self.until(batch, |record| record.state == BatchState::Finished).await
    }

    /// Waits for a batch of one and returns its outcome.
    pub async fn outcome(&mut self, batch: BatchId) -> Outcome {
        let key = self.broker.keys().batch(batch);
        let begun = Instant::now();
        loop {
            let value: Option<Vec<u8>> =
                redis::cmd("HGET").arg(&key).arg("outcome").query_async(&mut self.conn).await.unwrap();
            if let Some(value) = value {
                return decode_run(&value).unwrap().remove(0);
            }
            assert!(begun.elapsed() < PATIENCE, "no outcome within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until so many tasks run according to the worker's own record.
    pub async fn running(&mut self, tasks: u64) {
        let begun = Instant::now();
        while self.stats().await.running_tasks != tasks {
            assert!(begun.elapsed() < PATIENCE, "never {tasks} tasks in flight");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The outcomes of a batch of several, by index; each recorded exactly once.
    pub async fn outcomes(&mut self, batch: BatchId) -> Vec<Outcome> {
        let record = self.record(batch).await;
        let keys = self.broker.keys().clone();
        let mut outcomes = vec![None; record.tasks as usize];
        for bucket in 0..=Keys::bucket_of(record.tasks) {
            let fields: Vec<(u64, Vec<u8>)> =
                redis::cmd("HGETALL").arg(keys.results(batch, bucket)).query_async(&mut self.conn).await.unwrap();
            for (first, value) in fields {
                for (index, outcome) in (first..).zip(decode_run(&value).unwrap()) {
                    assert!(outcomes[index as usize].replace(outcome).is_none(), "{index} is recorded twice");
                }
            }
        }
        outcomes.into_iter().map(|outcome| outcome.expect("every task has an outcome")).collect()
    }

    /// Sets `maxmemory`; 0: none.
    pub async fn limit_memory(&mut self, bytes: &str) {
        let set = redis::cmd("CONFIG").arg(&["SET", "maxmemory", bytes]).query_async(&mut self.conn).await;
        let _: String = set.unwrap();
    }

    /// The worker's processes.
    pub fn children(&self) -> Vec<i32> {
        let pid = self.worker.as_ref().unwrap().id();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Consumers have a second thread.
    pub fn consumers(&self) -> Vec<i32> {
        let threads = |pid: i32| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        self.children().into_iter().filter(|&pid| threads(pid) > 1).collect()
    }

    /// Waits until nothing is left in flight, then checks that the counters agree.
    pub async fn nothing_left(&mut self) {
        let begun = Instant::now();
        loop {
            let stats = self.stats().await;
            let left = stats.ready_tasks + stats.running_tasks + stats.scheduled_tasks;
            let suspects: u64 =
                redis::cmd("HLEN").arg(self.broker.keys().suspects()).query_async(&mut self.conn).await.unwrap();
            if left + suspects == 0 && stats.depth_messages == [0; 3] {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "something is left: {stats:?}, {suspects} suspects");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// TERM, then waits for the end.
    pub fn drain(&mut self) -> ExitStatus {
        let mut worker = self.worker.take().unwrap();
        kill(worker.id() as i32, nix::sys::signal::Signal::SIGTERM);
        ended(&mut worker)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let children = if self.worker.is_some() { self.children() } else { Vec::new() };
        if let Some(mut worker) = self.worker.take() {
            let _ = worker.kill();
            let _ = worker.wait();
        }
        // Orphans have a second to give their work back; nobody needs that here. None outlives its test.
        for &child in &children {
            // It may have ended already.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL);
        }
        let begun = Instant::now();
        let alive = |child: &i32| {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        while children.iter().any(alive) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Starts a worker.
pub fn worker(url: &str, consumers: usize, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill-worker"));
    command.args(["--redis", url, "--consumers", &consumers.to_string(), "--test-kernels"]);
    command.args(more).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

/// Waits for the end of a worker.
pub fn ended(worker: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = worker.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            worker.kill().unwrap();
            worker.wait().unwrap();
            panic!("the worker did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn kill(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

pub fn count(record: &BatchRecord, kind: OutcomeKind) -> u64 {
    record.counts[kind as usize]
}
