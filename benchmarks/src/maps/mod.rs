//! Large maps by the command line, as a script runs them: the programs themselves, a private Redis, one worker.

pub mod lines;
pub mod resume;

use std::error::Error;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::Connection;

use crate::fleet::{Fleet, beside, status_kib};

const CONSUMERS: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// How many items, if not so many as usual.
fn items(arg: Option<String>, usual: u64) -> Result<u64, Box<dyn Error>> {
    let Some(text) = arg else { return Ok(usual) };
    let items = text.parse().ok().filter(|&items| items > 0);
    Ok(items.ok_or(format!("{text:?} is no number of items: use a whole number from 1"))?)
}

/// A fleet whose worker is known to offer what is mapped, and a connection to its Redis.
async fn start() -> Result<(Fleet, Server), Box<dyn Error>> {
    let fleet = Fleet::start(CONSUMERS).await?;
    let mut server = Server(redis::Client::open(fleet.redis.url())?.get_connection()?);
    let started = Instant::now();
    while !redis::cmd("HEXISTS").arg("{gm}:kernels").arg("square").query::<bool>(&mut server.0)? {
        if started.elapsed() > PATIENCE {
            return Err(format!("no worker offers square within {PATIENCE:?}").into());
        }
        thread::sleep(LOOK);
    }
    Ok((fleet, server))
}

/// `gristmill map square` on this fleet.
fn map_square(fleet: &Fleet) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(beside("gristmill")?);
    command.args(["map", "square"]).env("GRISTMILL_REDIS", fleet.redis.url());
    Ok(command)
}

/// A program that ends with us.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self, Box<dyn Error>> {
        let child = command.spawn();
        Ok(Self(child.map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?))
    }

    fn signal(&self, signal: Signal) -> Result<(), Box<dyn Error>> {
        Ok(kill(Pid::from_raw(i32::try_from(self.0.id())?), signal)?)
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, Box<dyn Error>> {
        Ok(self.0.try_wait()?)
    }

    /// The most memory that it has had. None when it has ended.
    fn peak_kib(&self) -> Option<u64> {
        status_kib(&self.0.id().to_string(), "VmHWM:").ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What Redis tells of itself and of the tasks.
struct Server(Connection);

impl Server {
    /// The most memory that it has had, as it counts it.
    fn peak_kib(&mut self) -> Result<u64, Box<dyn Error>> {
        let info: String = redis::cmd("INFO").arg("memory").query(&mut self.0)?;
        let peak = info.lines().find_map(|line| line.strip_prefix("used_memory_peak:"));
        Ok(peak.ok_or("Redis does not tell its peak")?.trim().parse::<u64>()? >> 10)
    }

    /// Tasks that have succeeded since it began, each as often as it was recorded.
    fn succeeded(&mut self) -> Result<u64, Box<dyn Error>> {
        let key =
            redis::cmd("HGET").arg("{gm}:queue:default").arg("succeeded_total").query::<Option<u64>>(&mut self.0)?;
        Ok(key.unwrap_or(0))
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
