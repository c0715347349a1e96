//! The worker under test: its own side, and the handle by which a scenario holds it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use gristmill_shared::connection::Endpoint;
use gristmill_shared::state::States;
use gristmill_shared::{Kernels, Namespace, QueueName};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::config::{Limits, LogFormat, WorkerConfig};
use crate::descriptors::Foreign;
use crate::{FOLDER, SCENARIO, process, say, scenario, supervisor};

/// How long a scenario waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the workers under test let tasks finish.
const GRACE: Duration = Duration::from_millis(300);
/// The same where a scenario wants to be faster than that.
const LONG_GRACE: Duration = Duration::from_secs(600);

/// Runs a supervisor with the doubles, as `Worker::main` does.
pub fn run() -> ExitCode {
    // Crashes on purpose leave no core file.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
    let foreign = Foreign::find().unwrap();
    let kept = File::open("/dev/zero").unwrap();
    let own = foreign.own().unwrap();
    let config = WorkerConfig {
        endpoint: Endpoint::parse("redis://127.0.0.1:1").unwrap(),
        namespace: Namespace::new("gm").unwrap(),
        queues: vec![QueueName::new("default").unwrap()],
        consumers: 1,
        lease: Duration::from_secs(10),
        reach: Duration::from_secs(60),
        grace: if scenario() == "busy_for_long" { LONG_GRACE } else { GRACE },
        limits: Limits::default(),
        worker: "w".to_owned(),
        host: "h".to_owned(),
        log_format: LogFormat::Text,
        test_kernels: false,
        states: States::default(),
        end_with_stdin: false,
        inits: Default::default(),
    };
    let slots = process::map_slots(NonZeroUsize::MIN).unwrap();
    if scenario() == "threads" {
        std::thread::spawn(std::thread::park);
        say(format_args!("refused: {}", process::fork(|| 0).unwrap_err()));
        return ExitCode::SUCCESS;
    }
    let code = supervisor::run(Arc::new(config), Kernels::default(), slots, own).unwrap();
    drop(kept);
    ExitCode::from(code)
}

/// A worker that runs, seen from outside.
pub struct Worker {
    child: Child,
    lines: Receiver<String>,
    kept: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Worker {
    /// Starts one.
    pub fn start(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(SCENARIO, scenario)
            .env(FOLDER, folder.path())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, kept: Vec::new(), _folder: folder }
    }

    /// Waits for a line that starts so, and returns the rest of it. Other lines are kept: the order of
    /// lines from several processes says nothing.
    pub fn line(&mut self, start: &str) -> String {
        let mut next = 0;
        loop {
            if next == self.kept.len() {
                let line = self.receive().unwrap_or_else(|| panic!("no line starts with {start:?}: {:?}", self.kept));
                self.kept.push(line);
            }
            if self.kept[next].starts_with(start) {
                return self.kept.remove(next)[start.len()..].trim_start().to_owned();
            }
            next += 1;
        }
    }

    /// The next line; none when every process that ever held the worker's stderr is gone.
    fn receive(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                println!("    {line}");
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing happens, and some process is alive: {:?}", self.kept),
        }
    }

    /// Waits for a line that ends in a process id.
    pub fn pid(&mut self, start: &str) -> Pid {
        Pid::from_raw(self.line(start).parse().unwrap())
    }

    /// Sends a signal to the supervisor.
    pub fn signal(&self, signal: Signal) {
        send(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// Waits until it and all its processes are gone: exit code, and the lines that nobody asked for.
    pub fn end(mut self) -> (Option<i32>, Vec<String>) {
        while let Some(line) = self.receive() {
            self.kept.push(line);
        }
        let status: ExitStatus = self.child.wait().unwrap();
        println!("    exit code {:?}, signal {:?}", status.code(), status.signal());
        (status.code(), std::mem::take(&mut self.kept))
    }

    /// Stops it and expects a drain without trouble.
    pub fn drain(self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.end().0, Some(0));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After a failed scenario nothing may stay behind: its children die with the supervisor.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of a worker.
pub fn send(pid: Pid, signal: Signal) {
    kill(pid, signal).unwrap();
}
