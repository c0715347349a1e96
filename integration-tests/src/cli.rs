//! The command line `gristmill`, as a shell would run it.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::binaries;
use crate::redis::Redis;
use crate::wait::{self, DEADLINE};

/// What a command left behind.
#[derive(Debug)]
pub struct Output {
    /// Its data.
    pub stdout: String,
    /// Everything else that it said.
    pub stderr: String,
    /// Its exit code; 128 + n after a signal.
    pub code: i32,
}

impl Output {
    /// The data of a command that went well.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout
    }
}

/// Runs commands on one Redis.
#[derive(Debug, Clone)]
pub struct Cli {
    url: String,
    namespace: String,
    variables: Vec<(String, String)>,
}

impl Cli {
    /// On this Redis, in the default namespace.
    pub fn new(redis: &Redis) -> Self {
        Self::at(&redis.url())
    }

    /// On whatever is there.
    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned(), namespace: "gm".to_owned(), variables: Vec::new() }
    }

    /// With an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same in another namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.to_owned();
        self
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "")
    }

    /// Runs a command that reads this from stdin to its end.
    pub fn run_with(&self, args: &[&str], stdin: &str) -> Output {
        let mut command = self.spawn(args);
        let mut pipe = command.child.stdin.take().expect("stdin is piped");
        // On a thread, because it reads and writes at the same time.
        let input = stdin.to_owned();
        let writer = thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
        let output = command.wait();
        drop(writer.join());
        output
    }

    /// Starts a command; its stdin stays open.
    pub fn spawn(&self, args: &[&str]) -> Running {
        let mut child = Command::new(binaries::find("gristmill"))
            .args(args)
            .env("GRISTMILL_REDIS", &self.url)
            .env("GRISTMILL_NAMESPACE", &self.namespace)
            .env_remove("GRISTMILL_LOG")
            .env_remove("GRISTMILL_LOG_FORMAT")
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command line runs");
        let stdout = child.stdout.take().map(reader);
        let stderr = child.stderr.take().map(reader);
        Running { child, stdout, stderr }
    }
}

type Reader = thread::JoinHandle<String>;

fn reader(mut pipe: impl Read + Send + 'static) -> Reader {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is what there is.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A command that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
}

impl Running {
    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.child.id() as i32), signal).expect("our own child");
    }

    /// Writes to its stdin.
    pub fn write(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(text.as_bytes()).expect("the command reads");
        stdin.flush().expect("the command reads");
    }

    /// Waits for its end; stdin is closed before.
    pub fn wait(mut self) -> Output {
        drop(self.child.stdin.take());
        let status = wait::poll(DEADLINE, || self.child.try_wait().expect("our own child"));
        if status.is_none() {
            let _ = self.child.kill();
        }
        let text = |reader: Option<Reader>| reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        let status = status.unwrap_or_else(|| panic!("the command runs after {DEADLINE:?}: {stderr}"));
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        Output { stdout, stderr, code }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
