//! The worker under test: its own side, and the handle by which a scenario holds it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use gristmill_shared::connection::Endpoint;
use gristmill_shared::{Kernels, Namespace, QueueName};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::config::{LogFormat, WorkerConfig};
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
        grace: if scenario() == "busy_for_long" { LONG_GRACE } else { GRACE },
        worker: "w".to_owned(),
        host: "h".to_owned(),
        log_format: LogFormat::Text,
        test_kernels: false,
    };
    let slots = process::map_slots(NonZeroUsize::MIN).unwrap();
    if scenario() == "threads" {
        std::thread::spawn(|| std::thread::park());
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
        Self { child, lines, _folder: folder }
    }

    /// Waits for a line that starts so, and returns the rest of it.
    pub fn line(&self, start: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    println!("    {line}");
                    if let Some(rest) = line.strip_prefix(start) {
                        return rest.trim_start().to_owned();
                    }
                }
                Err(_) => panic!("no line starts with {start:?}"),
            }
        }
    }

    /// Waits for a line that ends in a process id.
    pub fn pid(&self, start: &str) -> Pid {
        Pid::from_raw(self.line(start).parse().unwrap())
    }

    /// Sends a signal to the supervisor.
    pub fn signal(&self, signal: Signal) {
        send(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// Waits until every process that ever held its stderr is gone, and returns the lines up to then.
    pub fn last_lines(&self) -> Vec<String> {
        let (deadline, mut lines) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    println!("    {line}");
                    lines.push(line);
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return lines,
                Err(_) => panic!("a process of the worker is still alive: {lines:?}"),
            }
        }
    }

    /// Waits until it and all its processes are gone: exit code, last lines.
    pub fn end(mut self) -> (Option<i32>, Vec<String>) {
        let lines = self.last_lines();
        let status: ExitStatus = self.child.wait().unwrap();
        println!("    exit code {:?}, signal {:?}", status.code(), status.signal());
        (status.code(), lines)
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
