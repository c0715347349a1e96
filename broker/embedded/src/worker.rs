//! A worker program as a child: for `gristmill demo` and `dev`, and for the tests of whoever writes kernels.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Set for a worker that ends with its stdin, which only its owner holds.
const END_WITH_STDIN: &str = "GRISTMILL_END_WITH_STDIN";
/// Lines kept of what a worker says.
const LINES: usize = 200;
/// How long to wait for what a worker that has ended said last.
const LAST_WORDS: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(2);
/// Longest line kept, bytes.
const LINE_BYTES: u64 = 4_096;

/// A worker that runs. It leads a process group, so that a Ctrl-C on the terminal reaches its owner alone. It ends with its
/// owner, however that ends: it holds the end of a pipe whose other end the owner has.
///
/// Dropping it kills it; its consumers end with it.
#[derive(Debug)]
pub struct WorkerChild {
    child: Child,
    said: Option<Said>,
}

impl WorkerChild {
    /// Starts the program. Its stderr goes where ours goes.
    pub fn start(command: Command) -> io::Result<Self> {
        Self::spawn(command, Stdio::inherit())
    }

    /// Starts the program and keeps the last that it says on stderr, for [`WorkerChild::said`].
    pub fn start_listening(command: Command) -> io::Result<Self> {
        let mut this = Self::spawn(command, Stdio::piped())?;
        this.said = this.child.stderr.take().map(Said::of);
        Ok(this)
    }

    fn spawn(mut command: Command, stderr: Stdio) -> io::Result<Self> {
        command.env(END_WITH_STDIN, "true").stdin(Stdio::piped()).stderr(stderr).process_group(0);
        Ok(Self { child: command.spawn()?, said: None })
    }

    /// The process, which is the worker's supervisor.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks it to drain: it ends when what runs has ended, or its grace time is over.
    pub fn drain(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Tells it to end at once, with what it runs. What it held is given back.
    pub fn end(&mut self) {
        // Two signals that are different: of two equal ones the second is lost while the first is pending.
        self.signal(Signal::TERM);
        self.signal(Signal::INT);
    }

    /// The last lines that it has said, if it was started listening. Complete once it has ended.
    pub fn said(&mut self) -> Vec<String> {
        let ended = matches!(self.ended(), Ok(Some(_)));
        self.said.as_ref().map(|said| said.lines(ended)).unwrap_or_default()
    }

    fn signal(&mut self, signal: Signal) {
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), i32::try_from(self.child.id()))
            && let Some(pid) = Pid::from_raw(pid)
        {
            // It was not waited for, so its pid is nobody else's; it may have ended just now.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for WorkerChild {
    fn drop(&mut self) {
        // Neither fails for a child that was not waited for; one that has ended is fine, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child says, read by a thread so that it never waits for us.
#[derive(Debug)]
struct Said {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Said {
    fn of(stderr: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::default());
        let shared = Arc::clone(&lines);
        Self { lines, reader: std::thread::spawn(move || read(stderr, &shared)) }
    }

    fn lines(&self, complete: bool) -> Vec<String> {
        let deadline = Instant::now() + LAST_WORDS;
        // It ends with the last process that can write, which may be one that has outlived the worker.
        while complete && !self.reader.is_finished() && Instant::now() < deadline {
            std::thread::sleep(TICK);
        }
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn read(stderr: impl Read, lines: &Mutex<VecDeque<String>>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while stderr.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}

/// How a process ended, for people: "has …".
pub fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("been killed by {}", name(signal)),
        (None, None) => "ended".to_owned(),
    }
}

fn name(signal: i32) -> String {
    const NAMES: [(i32, &str); 9] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (6, "SIGABRT"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (15, "SIGTERM"),
    ];
    let named = NAMES.iter().find(|(number, _)| *number == signal);
    named.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept() {
        let text: String = (0..LINES + 5).map(|n| format!("line {n}\n")).collect();
        let lines = Mutex::default();
        read(text.as_bytes(), &lines);
        let lines = lines.into_inner().unwrap();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES, "line 5"));
    }

    #[test]
    fn what_a_child_said_is_complete_once_it_has_ended() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo begun >&2; read line; echo over >&2; exit 3"]);
        let mut child = WorkerChild::start_listening(command).unwrap();
        assert!(child.ended().unwrap().is_none(), "it reads its stdin");
        drop(child.child.stdin.take());
        let status = loop {
            if let Some(status) = child.ended().unwrap() {
                break status;
            }
            std::thread::yield_now();
        };
        assert_eq!(
            (how_it_ended(status).as_str(), child.said()),
            ("ended with exit code 3", vec!["begun".to_owned(), "over".to_owned()])
        );
    }

    #[test]
    fn a_child_is_told_and_killed() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap 'exit 7' TERM; while :; do sleep 0.01; done"]);
        let mut child = WorkerChild::start(command).unwrap();
        let pid = child.pid();
        while child.ended().unwrap().is_none() {
            child.drain();
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        drop(child);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
