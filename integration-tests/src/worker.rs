//! A worker program as a child of the test.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use gristmill_shared::events;
use nix::sys::signal::Signal;

use crate::binaries;
use crate::log::Log;
use crate::netns::Machine;
use crate::pids::Process;
use crate::redis::Redis;
use crate::wait::{self, DEADLINE};

/// How long the processes of a worker may outlive their supervisor.
const VANISH: Duration = Duration::from_secs(5);
/// The supervisor tells at this level which processes it forks.
const QUIET: &str = "info,gristmill_worker::supervisor=debug";

/// How a worker is started.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    program: Option<PathBuf>,
    consumers: usize,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    log: &'static str,
    launcher: Vec<OsString>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self { program: None, consumers: 1, args: Vec::new(), variables: Vec::new(), log: QUIET, launcher: Vec::new() }
    }
}

impl WorkerOptions {
    /// One consumer, everything else as the worker itself would have it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another program than the stock worker.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// On a machine of our own.
    #[must_use]
    pub fn on(mut self, machine: &Machine) -> Self {
        self.launcher = machine.launcher();
        self
    }

    /// So many consumers.
    #[must_use]
    pub fn consumers(mut self, consumers: usize) -> Self {
        self.consumers = consumers;
        self
    }

    /// One argument, `--name` or `--name value`.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.extend(arg.split_ascii_whitespace().map(str::to_owned));
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// With the kernels that misbehave on purpose.
    #[must_use]
    pub fn test_kernels(self) -> Self {
        self.arg("--test-kernels")
    }

    /// Logs the way of every task.
    #[must_use]
    pub fn debug(mut self) -> Self {
        self.log = "debug";
        self
    }

    /// Starts the worker and waits until all its consumers work.
    pub fn start(self, redis: &Redis) -> WorkerProcess {
        self.start_at(&redis.url())
    }

    /// The same on any Redis.
    pub fn start_at(self, url: &str) -> WorkerProcess {
        let consumers = self.consumers;
        let worker = self.spawn_at(url);
        worker.log.wait_count(events::CONSUMER_STARTED, consumers);
        worker
    }

    /// Starts the worker.
    pub fn spawn(self, redis: &Redis) -> WorkerProcess {
        self.spawn_at(&redis.url())
    }

    /// The same on any Redis.
    pub fn spawn_at(self, url: &str) -> WorkerProcess {
        let program = self.program.unwrap_or_else(|| binaries::find("gristmill-worker"));
        // What a launcher starts takes the launcher's place, so the child is the supervisor soon.
        let words = [self.launcher, vec![program.clone().into_os_string()]].concat();
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--consumers", &self.consumers.to_string(), "--log-format", "json"])
            .args(&self.args)
            // A password on the command line would draw a warning.
            .env("GRISTMILL_REDIS", url)
            .env_remove("GRISTMILL_NAMESPACE")
            .env("GRISTMILL_LOG", self.log)
            .envs(self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
        let log = Log::of(child.stderr.take().expect("stderr is piped"));
        let supervisor = Process::now(child.id() as i32).expect("a child that was not waited for");
        WorkerProcess { child, supervisor, log }
    }
}

/// A running worker. Dropping it ends all its processes, and panics if one had outlived the supervisor.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    /// The process that the test started.
    pub supervisor: Process,
    /// What it logs.
    pub log: Log,
}

impl WorkerProcess {
    /// Consumers that live now, with their ids, by place.
    pub fn consumers(&self) -> Vec<(Process, String)> {
        let forked = self.log.all(|line| line.event() == events::CHILD_FORKED && line.text("role") == "consumer");
        let living = self.supervisor.children();
        let find = |pid: i64| living.iter().find(|process| i64::from(process.pid) == pid).copied();
        let mut found: Vec<_> = forked
            .iter()
            .filter_map(|line| {
                Some((line.number("place")?, find(line.number("pid")?)?, line.text("consumer").to_owned()))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, process, id)| (process, id)).collect()
    }

    /// The living consumer of this id.
    pub fn consumer(&self, id: &str) -> Process {
        let found = self.consumers().into_iter().find(|(_, other)| other == id);
        found.unwrap_or_else(|| panic!("no living consumer {id}; the log's end:\n{}", self.log.tail())).0
    }

    /// The agent, if one lives now.
    pub fn agent_now(&self) -> Option<Process> {
        let forked = self.log.all(|line| line.event() == events::CHILD_FORKED && line.text("role") == "agent");
        let pid = forked.last()?.number("pid")?;
        self.supervisor.children().into_iter().find(|process| i64::from(process.pid) == pid)
    }

    /// The agent. If it has died, its successor.
    pub fn agent(&self) -> Process {
        wait::eventually("an agent", || self.agent_now())
    }

    /// Supervisor, agent, consumers, and whatever they have started.
    pub fn processes(&self) -> Vec<Process> {
        let mut all = self.supervisor.descendants();
        all.push(self.supervisor);
        all
    }

    /// Signals the supervisor.
    pub fn signal(&self, signal: Signal) {
        self.supervisor.signal(signal);
    }

    /// Waits until the supervisor has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let ended = wait::poll(DEADLINE, || self.child.try_wait().expect("our own child"));
        ended.unwrap_or_else(|| panic!("the worker still runs after {DEADLINE:?}; its log's end:\n{}", self.log.tail()))
    }

    /// Asks the worker to end, waits until it has, and asserts that nothing is left of it. After that the
    /// log is complete: the place to count events, since while a worker runs its log comes with delay.
    pub fn drain(&mut self) -> ExitStatus {
        let processes = self.processes();
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert_gone(&processes);
        self.log.join();
        status
    }

    /// Kills all processes as a power cut would: the supervisor can neither see nor report a death.
    pub fn power_off(&mut self) {
        self.supervisor.signal(Signal::SIGSTOP);
        wait::eventually("the supervisor stops", || self.supervisor.is_stopped().then_some(()));
        let processes = self.processes();
        processes.iter().for_each(|process| process.signal(Signal::SIGKILL));
        self.wait();
        assert_gone(&processes);
    }
}

/// Waits until these processes are gone.
///
/// # Panics
/// If one outlives the wait.
pub fn assert_gone(processes: &[Process]) {
    let left = || processes.iter().copied().filter(|process| process.is_alive()).collect::<Vec<_>>();
    let gone = wait::poll(VANISH, || left().is_empty().then_some(()));
    assert!(gone.is_some(), "processes outlive their supervisor by {VANISH:?}: {:?}", left());
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let processes = self.processes();
        // A process that a test has stopped cannot follow its supervisor.
        processes.iter().filter(|process| process.is_stopped()).for_each(|process| process.signal(Signal::SIGCONT));
        // Neither fails for a child that was not waited for; one that has ended is fine, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let left = wait::poll(VANISH, || processes.iter().all(|process| !process.is_alive()).then_some(())).is_none();
        processes.iter().for_each(|process| process.signal(Signal::SIGKILL));
        self.log.join();
        if std::thread::panicking() {
            eprintln!("the log of worker {} ends with:\n{}", self.supervisor.pid, self.log.tail());
        }
        if left && !std::thread::panicking() {
            panic!("a process of worker {} has outlived its supervisor", self.supervisor.pid);
        }
    }
}
