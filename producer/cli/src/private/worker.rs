//! A worker as a child.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use gristmill_embedded::{WorkerChild, how_it_ended};
use tokio::time::Instant;

use super::find::Program;
use crate::exit::Exit;

/// Between two looks at whether it has ended.
const TICK: Duration = Duration::from_millis(10);
/// After a second signal a worker has this long to give back what its consumers held.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Where a worker's log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// To our stderr, as `GRISTMILL_LOG` says.
    Stderr,
    /// Nowhere but for errors, which go to our stderr.
    Errors,
}

/// How a worker is started.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Consumers; none: one per core.
    pub consumers: Option<usize>,
    /// Queues, separated by commas; none: the worker's default.
    pub queues: Option<String>,
    /// How long a drain lets running tasks finish.
    pub grace: Duration,
    /// Where its log goes.
    pub log: Log,
}

impl WorkerOptions {
    /// How many consumers that makes.
    pub fn consumer_count(&self) -> u64 {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.consumers.unwrap_or_else(cores) as u64
    }
}

/// A worker that runs; see [`WorkerChild`].
#[derive(Debug)]
pub struct Worker {
    child: WorkerChild,
    program: Program,
    ready: bool,
}

impl Worker {
    pub(super) fn start(program: &Program, url: &str, namespace: &str, options: &WorkerOptions) -> Result<Self, Exit> {
        let mut command = Command::new(&program.path);
        command.args(["--redis", url, "--namespace", namespace]);
        command.args(["--grace", &format!("{}ms", options.grace.as_millis())]);
        if let Some(consumers) = options.consumers {
            command.args(["--consumers", &consumers.to_string()]);
        }
        if let Some(queues) = &options.queues {
            command.args(["--queues", queues]);
        }
        if options.log == Log::Errors {
            command.env("GRISTMILL_LOG", "error");
        }
        let cannot = |error| Exit::usage(format!("cannot run the worker {}: {error}", program.path.display()));
        Ok(Self { child: WorkerChild::start(command).map_err(cannot)?, program: program.clone(), ready: false })
    }

    /// The supervisor's process.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Whether it is there; if not, a line that says how it ended.
    pub fn check(&mut self) -> Result<(), Exit> {
        match self.child.ended() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.why(status)),
            Err(error) => Err(Exit::new(Exit::BUG, format!("cannot wait for the worker: {error}"))),
        }
    }

    /// It was seen at work.
    pub(super) fn is_ready(&mut self) {
        self.ready = true;
    }

    /// It has ended, and nobody here has ended it.
    fn why(&self, status: ExitStatus) -> Exit {
        let (path, how) = (self.program.path.display(), how_it_ended(status));
        match self.program.by {
            _ if self.ready => Exit::new(
                Exit::TASK,
                format!("the worker {path} has {how}; what it said last stands above, if it could say anything"),
            ),
            Some(by) => Exit::usage(format!(
                "{by}={path} has {how} before it was ready: run `{path} --help` to see whether it is a Gristmill worker"
            )),
            None => Exit::new(
                Exit::TASK,
                format!("the worker {path} has {how} before it was ready: run `{path}` by hand to see why"),
            ),
        }
    }

    /// Asks it to drain.
    pub fn terminate(&mut self) {
        self.child.drain();
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        while matches!(self.child.ended(), Ok(None)) {
            tokio::time::sleep(TICK).await;
        }
    }

    /// Drains it and waits until it has ended, which takes its grace time at most.
    pub async fn drain(&mut self) {
        self.terminate();
        self.ended().await;
    }

    /// Ends it at once, with what it runs. What it held is given back.
    pub async fn stop(&mut self) {
        self.child.end();
        let deadline = Instant::now() + AT_ONCE;
        // Whoever does not end now is killed when it is dropped.
        let _ = tokio::time::timeout_at(deadline, self.ended()).await;
    }
}
