//! A Redis as one would run it, workers on it, and their processes.

use std::error::Error;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gristmill::Client;
use gristmill_embedded::{AppendOnly, EmbeddedOptions, EmbeddedRedis};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::fleet::beside;

const PATIENCE: Duration = Duration::from_secs(30);

gristmill::remote_kernel! {
    /// `beacon` of the beacon worker.
    pub fn beacon(socket: String) -> () = "beacon";
}
gristmill::remote_kernel! {
    /// `pass` of the beacon worker.
    pub fn pass(ms: u64) -> () = "pass";
}

/// Redis by TCP, with an append-only file that reaches the disk every second.
pub struct Rig {
    pub redis: EmbeddedRedis,
    pub client: Client,
    /// Outlives the server, which writes into it.
    _data: TempDir,
}

impl Rig {
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let data = tempfile::tempdir()?;
        let options = EmbeddedOptions::new().tcp(true).appendonly(AppendOnly::EverySecond).dir(data.path());
        let redis = options.start()?;
        let client = Client::connect(redis.url()).await?;
        Ok(Self { redis, client, _data: data })
    }

    /// Waits until so many consumers hold a lease.
    pub async fn wait_consumers(&self, count: usize) -> Result<(), Box<dyn Error>> {
        let client = redis::Client::open(self.redis.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let started = Instant::now();
        while redis::cmd("ZCARD").arg("{gm}:leases").query_async::<usize>(&mut connection).await? != count {
            if started.elapsed() > PATIENCE {
                return Err(format!("not {count} consumers within {PATIENCE:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// A worker with the defaults, as a process of its own. Dropping it kills it.
pub struct WorkerProcess(Child);

impl WorkerProcess {
    pub fn start(rig: &Rig, consumers: usize) -> Result<Self, Box<dyn Error>> {
        let child = Command::new(beside("beacon-worker")?)
            .args(["--consumers", &consumers.to_string()])
            .env("GRISTMILL_REDIS", rig.redis.url())
            // Deaths are what this is about: no news.
            .env("GRISTMILL_LOG", "off")
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    pub fn owns(&self, pid: i32) -> bool {
        self.children().contains(&pid)
    }

    /// Kills all its processes as a power cut does: the supervisor stands before anything dies, so that nobody
    /// sees or reports it. Returns when the first one was killed.
    pub fn power_off(&mut self) -> Instant {
        let supervisor = self.0.id() as i32;
        signal(supervisor, Signal::SIGSTOP);
        let children = self.children();
        let at = Instant::now();
        children.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
        signal(supervisor, Signal::SIGKILL);
        // Reaped by drop.
        at
    }

    fn children(&self) -> Vec<i32> {
        let supervisor = self.0.id();
        let path = format!("/proc/{supervisor}/task/{supervisor}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // The children end with their supervisor.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Signals one of our processes. That it has ended is no error.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}
