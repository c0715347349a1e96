//! A private Redis and one worker, and the CPU time that each has used.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gristmill::Client;
use gristmill_embedded::EmbeddedRedis;

/// A running fleet; it ends when it is dropped.
pub struct Fleet {
    pub redis: EmbeddedRedis,
    worker: Child,
}

impl Fleet {
    /// Starts Redis and a worker with so many consumers, and waits until all of them hold a lease.
    pub async fn start(consumers: u64) -> Result<Self, Box<dyn Error>> {
        Self::start_with(consumers, &[]).await
    }

    /// The same, with further arguments of the worker.
    pub async fn start_with(consumers: u64, args: &[&str]) -> Result<Self, Box<dyn Error>> {
        let redis = EmbeddedRedis::start()?;
        let worker = Command::new(beside("gristmill-worker")?)
            .args(["--redis", &redis.url(), "--consumers", &consumers.to_string()])
            .args(args)
            // At the end Redis may go before the last consumer: no news.
            .env("GRISTMILL_LOG", "error")
            .stdin(Stdio::null())
            .spawn()?;
        let fleet = Self { redis, worker };
        let client = redis::Client::open(fleet.redis.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        loop {
            let live: u64 = redis::cmd("ZCARD").arg("{gm}:leases").query_async(&mut connection).await?;
            if live == consumers {
                return Ok(fleet);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn client(&self) -> Result<Client, Box<dyn Error>> {
        Ok(Client::connect(self.redis.url()).await?)
    }

    /// Supervisor first, then its children.
    pub fn worker_pids(&self) -> Vec<u32> {
        let supervisor = self.worker.id();
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap_or_default();
        std::iter::once(supervisor).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }

    pub fn redis_pid(&self) -> u32 {
        self.redis.pid().unwrap_or_default()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The children end with their supervisor.
        let _ = self.worker.kill();
        let _ = self.worker.wait();
    }
}

/// A program of the same build.
pub fn beside(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        return Err(format!("{} is missing: build it with the same profile", path.display()).into());
    }
    Ok(path)
}

/// A field of `/proc/<process>/status` that is told in KiB; the process may be `self`.
pub fn status_kib(process: &str, field: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// User and system time of a process, µs. Ticks are 10 ms, so the figure needs a run of seconds.
pub fn cpu_us(pid: u32) -> u64 {
    const US_PER_TICK: u64 = 10_000;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields are counted behind the command's name, which may contain spaces.
    let fields: Vec<_> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * US_PER_TICK
}
