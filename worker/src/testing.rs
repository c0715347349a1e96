//! A private Redis and a real worker, for the tests of your own kernels.
//!
//! With the feature `testing` of this crate among the dev-dependencies, a test of a worker program is three lines. The worker
//! is the real one: it forks, and it ends what overruns its limits.
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # macro_rules! env { ($name:literal) => { $name } }
//! // tests/kernels.rs of a package whose program is called my-worker
//! let mill = gristmill_worker::testing::start(env!("CARGO_BIN_EXE_my-worker"))?;
//! // let client = gristmill::Client::connect(&mill.url()).await?;
//! // assert_eq!(client.submit(square, 7).await?.result().await?, 49);
//! mill.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here needs a runtime, so it works in plain tests and in async ones. A kernel alone is tested as a plain function, with
//! [`TaskContext::detached`](crate::TaskContext::detached).

mod error;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

pub use error::MillError;
use gristmill_embedded::{EmbeddedRedis, WorkerChild, how_it_ended};
use gristmill_shared::{Keys, Namespace, defaults};

/// How long a worker may take until it is ready, unless told otherwise: in a debug build on a busy machine, with what it preloads.
const WITHIN: Duration = Duration::from_secs(60);
/// How long a worker may take to end, beyond its grace.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(5);
/// The environment of the worker is that of the test, but what is meant for the workers of a person is not.
const OURS: &str = "GRISTMILL_";
const KEPT: [&str; 2] = ["GRISTMILL_LOG", "GRISTMILL_LOG_FORMAT"];

/// Starts a private Redis and this worker program on it, with one consumer, and waits until it offers its kernels.
pub fn start(program: impl AsRef<OsStr>) -> Result<Mill, MillError> {
    MillOptions::new(program).start()
}

/// How a [`Mill`] is set up.
#[derive(Debug, Clone)]
pub struct MillOptions {
    program: PathBuf,
    consumers: usize,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    within: Duration,
}

impl MillOptions {
    /// A worker program with one consumer, and everything else as it would have it itself.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = PathBuf::from(program.as_ref());
        Self { program, consumers: 1, args: Vec::new(), variables: Vec::new(), within: WITHIN }
    }

    /// So many consumers.
    #[must_use]
    pub fn consumers(mut self, consumers: usize) -> Self {
        self.consumers = consumers;
        self
    }

    /// More arguments of the worker: `["--memory-limit", "1GiB"]`.
    #[must_use]
    pub fn worker_args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// An environment variable of the worker.
    #[must_use]
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// How long the worker may take until it is ready, if not a minute: for one that loads much.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Starts both, and waits until all consumers can claim tasks and the worker has said which kernels it offers.
    pub fn start(self) -> Result<Mill, MillError> {
        let redis = EmbeddedRedis::start()?;
        let worker = WorkerChild::start_listening(self.command(&redis.url()));
        let worker = worker.map_err(|error| MillError::Program { program: self.program.clone(), error })?;
        let mut mill = Mill { worker, redis, program: self.program };
        mill.wait_until_ready(self.consumers, self.within)?;
        Ok(mill)
    }

    fn command(&self, url: &str) -> Command {
        let mut command = Command::new(&self.program);
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with(OURS)) {
            if !KEPT.iter().any(|kept| name == *kept) {
                command.env_remove(name);
            }
        }
        command.args(["--redis", url, "--consumers", &self.consumers.to_string()]).args(&self.args);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A private Redis with a worker on it. Dropping it ends both, with all that runs; so does the end of the test, however that
/// comes. If a test panics, the worker's last lines are printed.
#[derive(Debug)]
pub struct Mill {
    // The worker goes before its Redis.
    worker: WorkerChild,
    redis: EmbeddedRedis,
    program: PathBuf,
}

impl Mill {
    /// Where clients connect to.
    pub fn url(&self) -> String {
        self.redis.url()
    }

    /// The namespace of the worker: the default one.
    pub fn namespace(&self) -> &'static str {
        defaults::NAMESPACE
    }

    /// The worker's process, its supervisor.
    pub fn worker_pid(&self) -> u32 {
        self.worker.pid()
    }

    /// The last lines of the worker's log.
    pub fn log(&mut self) -> Vec<String> {
        self.worker.said()
    }

    /// Drains the worker and waits until it has ended; an error if it did not end well. Then Redis ends.
    pub fn stop(mut self) -> Result<(), MillError> {
        self.worker.drain();
        let deadline = Instant::now() + defaults::DRAIN_GRACE + ENDS_WITHIN;
        loop {
            match self.ended()? {
                Some(_) if self.ended_well() => return Ok(()),
                Some(how) => return Err(self.ended_badly(how)),
                None if Instant::now() > deadline => {
                    let said = self.said();
                    return Err(MillError::Runs { program: self.program.clone(), said });
                }
                None => std::thread::sleep(TICK),
            }
        }
    }

    fn wait_until_ready(&mut self, consumers: usize, within: Duration) -> Result<(), MillError> {
        let deadline = Instant::now() + within;
        let mut connection = redis::Client::open(self.redis.url())?.get_connection()?;
        let keys = Namespace::new(self.namespace()).map(|namespace| Keys::new(&namespace));
        let keys = keys.map_err(|error| MillError::Namespace(error.to_string()))?;
        loop {
            if let Some(how) = self.ended()? {
                return Err(self.ended_badly(how));
            }
            let (leases, kernels): (usize, usize) =
                redis::pipe().zcard(keys.leases()).hlen(keys.kernels()).query(&mut connection)?;
            if leases >= consumers && kernels > 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                let said = self.said();
                return Err(MillError::NotReady { program: self.program.clone(), within, said });
            }
            std::thread::sleep(TICK);
        }
    }

    /// How the worker ended, if it has.
    fn ended(&mut self) -> Result<Option<String>, MillError> {
        let ended = self.worker.ended();
        let ended = ended.map_err(|error| MillError::Program { program: self.program.clone(), error })?;
        Ok(ended.map(how_it_ended))
    }

    fn ended_well(&mut self) -> bool {
        matches!(self.worker.ended(), Ok(Some(status)) if status.success())
    }

    fn ended_badly(&mut self, how: String) -> MillError {
        MillError::Ended { program: self.program.clone(), how, said: self.said() }
    }

    /// The last that the worker has said, below a line of its own.
    fn said(&mut self) -> String {
        let lines = self.worker.said();
        if lines.is_empty() { "nothing".to_owned() } else { format!("\n{}", lines.join("\n")) }
    }
}

impl Drop for Mill {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.said();
            eprintln!("the worker {} has said: {said}", self.program.display());
        }
    }
}
