//! `gristmill demo`: every step shows what it found, and what is wrong is noticed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use gristmill_integration_tests::pids::Process;
use gristmill_integration_tests::worker::assert_gone;
use gristmill_integration_tests::{Output, binaries, wait};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::rig::{Rig, assert_for_people, assert_says, error};

/// All steps together, on a machine that is busy with other tests.
const WHOLE: Duration = Duration::from_secs(150);
/// Widest line of the report.
const WIDTH: usize = 100;

/// A running `gristmill demo --quick`.
struct Demo {
    child: Child,
    /// Itself and whatever it has started so far.
    processes: BTreeSet<Process>,
    stdout: BufReader<ChildStdout>,
    said: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binaries::find("gristmill"));
    command.args(["demo", "--quick"]).args(args).process_group(0);
    for variable in ["GRISTMILL_REDIS", "GRISTMILL_NAMESPACE", "GRISTMILL_WORKER", "GRISTMILL_LOG"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Demo {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let processes = Process::now(child.id() as i32).into_iter().collect();
        Self { child, processes, stdout, said: String::new() }
    }

    /// Reads on until a line holds this text; without one, to the end.
    fn read_until(&mut self, text: Option<&str>) {
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).unwrap();
            self.said += &line;
            // A line that follows an empty one is a good moment, and there are not too many of them.
            if line.trim().is_empty() {
                let demo = *self.processes.iter().find(|process| process.pid == self.child.id() as i32).unwrap();
                self.processes.extend(demo.descendants());
            }
            match text {
                Some(text) if line.contains(text) => return,
                Some(text) => assert_ne!(read, 0, "no {text:?} in:\n{}", self.said),
                None if read == 0 => return,
                None => {}
            }
        }
    }

    /// Waits for its end, and asserts that nothing is left of it.
    fn end(mut self) -> Output {
        let status = wait::poll(WHOLE, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("the demo still runs after {WHOLE:?}:\n{}", self.said));
        let processes: Vec<_> = self.processes.iter().copied().collect();
        assert_gone(&processes);
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_for_people(&stderr);
        let stdout = std::mem::take(&mut self.said);
        if let Some(socket) = socket(&stdout) {
            assert!(!socket.parent().unwrap().exists(), "{} is left", socket.display());
        }
        Output { stdout, stderr, code: status.code().or(status.signal().map(|signal| 128 + signal)).unwrap() }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // All else ends with it; in a test that went well it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the private Redis was, as the report says.
fn socket(report: &str) -> Option<PathBuf> {
    Some(Path::new(report.split_once("redis-cli -s ")?.1.split_ascii_whitespace().next()?).to_owned())
}

/// The report without its line breaks, which depend on how long its numbers are.
fn flat(report: &str) -> String {
    report.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// A directory with links to the programs that the demo needs, so that PATH holds nothing else.
fn path_without_redis_cli() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in ["redis-server", "valkey-server", "setpriv", "sh"] {
        if let Some(found) = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file()) {
            std::os::unix::fs::symlink(found.canonicalize().unwrap(), dir.path().join(program)).unwrap();
        }
    }
    dir
}

#[test]
fn every_step_says_what_it_verified() {
    let mut demo = Demo::start(&mut command(&[]));
    demo.read_until(None);
    assert!(demo.processes.len() > 5, "Redis, its minder, a supervisor, an agent and consumers were seen");
    let output = demo.end();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    let wide = output.stdout.lines().find(|line| line.chars().count() > WIDTH);
    assert_eq!(wide, None);
    assert!(!output.stdout.contains('\x1b'), "colours are for terminals");
    let report = flat(&output.stdout);
    let consumers = std::thread::available_parallelism().unwrap();
    let verified = [
        format!("verified: the supervisor has {} children, the {consumers} consumers among them", consumers.get() + 1),
        "verified: 4 of 4 sums are 666666166.4588418".to_owned(),
        "verified: [0, 1, 4, 9, 16, 25, 36, 49, 64, 81] came back, in this order".to_owned(),
        "verified: 2,000 results of 1,000 points each make π ≈ 3.1".to_owned(),
        "different ones: the same as counted directly here".to_owned(),
        "messages and fell to 0;".to_owned(),
        "results came back right; the batch counts".to_owned(),
        "verified: another consumer had taken its place after".to_owned(),
        format!("{0} of {0} checks held", if consumers.get() == 1 { 8 } else { 9 }),
    ];
    assert_says(&report, &verified.each_ref().map(String::as_str));
    if consumers.get() > 1 {
        assert_says(&report, &[" times as fast with ", "no core was left idle"]);
    }
    let commands = commands(&output.stdout);
    assert!(commands.len() >= 8, "{report}");
    assert_they_work(&commands);
}

/// What the report says how to do the same by hand.
fn commands(report: &str) -> Vec<&str> {
    report.lines().filter_map(|line| line.trim_start().strip_prefix("$ ")).collect()
}

/// Runs in a shell what can be run as it stands: it prints something and ends well.
fn assert_they_work(commands: &[&str]) {
    let rig = Rig::start();
    let program = binaries::find("gristmill");
    let path = std::env::join_paths(
        [program.parent().unwrap().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let runnable = |command: &&&str| command.contains("gristmill map") || command.starts_with("gristmill workers");
    let runnable: Vec<_> = commands.iter().filter(runnable).collect();
    assert_eq!(runnable.len(), 5, "{commands:?}");
    for command in runnable {
        let output = Command::new("sh")
            .args(["-c", &format!("set -e; {command}")])
            .env("PATH", path.as_ref().unwrap())
            .env("GRISTMILL_REDIS", rig.redis.url())
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty() && output.stdout.len() > 20, "{command}: {said}");
    }
}

#[test]
fn a_worker_that_computes_wrong_values_is_found_out() {
    let worker = binaries::find("wrong-worker");
    let path = path_without_redis_cli();
    let mut demo = Demo::start(command(&["--worker", worker.to_str().unwrap()]).env("PATH", path.path()));
    demo.read_until(None);
    let output = demo.end();
    let said = error(&output, 1);
    let wrong = ["sum_sqrt", "square", "monte_carlo_pi", "text.word_count", "nothing lost"];
    assert_says(&said, &wrong);
    let speed = usize::from(std::thread::available_parallelism().unwrap().get() > 1);
    assert_says(&said, &[&format!("{} of {} checks", wrong.len() + speed, 8 + speed)]);
    let report = flat(&output.stdout);
    assert_says(&report, &["✗ FAILED: square: [0, 1, 4, 9, 16, 25, 36, 50, 64, 81] came back"]);
    assert_says(
        &report,
        &["✗ FAILED: sum_sqrt: 0 of 4 sums", "✗ FAILED: text.word_count: ", "times the standard error"],
    );
    // What does not depend on the values held all the same; and without redis-cli the demo asks by itself.
    assert_says(&report, &["messages and fell to 0;", "since redis-cli is not installed"]);
}

#[test]
fn whatever_ends_it_leaves_nothing_behind() {
    let ends = [
        (Signal::SIGINT, 130, "1. "),
        (Signal::SIGTERM, 143, "small tasks"),
        (Signal::SIGKILL, 137, "gristmill queues"),
    ];
    for (signal, code, step) in ends {
        let mut demo = Demo::start(&mut command(&[]));
        demo.read_until(Some(step));
        signal::kill(Pid::from_raw(demo.child.id() as i32), signal).unwrap();
        demo.read_until(None);
        let output = demo.end();
        assert_eq!((output.code, output.stderr.as_str()), (code, ""), "{}", output.stdout);
        assert!(!output.stdout.contains("That was all"), "{}", output.stdout);
    }
}

#[test]
fn a_reader_who_leaves_ends_it() {
    let mut demo = Demo::start(&mut command(&[]));
    demo.read_until(Some("supervisor"));
    // Nobody reads any more.
    demo.stdout = BufReader::new(silent());
    assert_eq!(demo.end().code, 141);
}

/// The stdout of a program that says nothing.
fn silent() -> ChildStdout {
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    child.wait().unwrap();
    stdout
}

#[test]
fn what_it_cannot_work_with_is_said_in_one_line() {
    let demo = Demo::start(&mut command(&["--worker", "/nowhere/gristmill-worker"]));
    let output = demo.end();
    assert_says(&error(&output, 2), &["--worker=/nowhere/gristmill-worker is not an executable file"]);
    // A Redis that would not be used.
    let demo = Demo::start(&mut command(&["--redis", "redis://127.0.0.1:1"]));
    assert_says(&error(&demo.end(), 2), &["demo starts a Redis of its own"]);
    // No Redis at all.
    let demo = Demo::start(command(&[]).env("PATH", "/nowhere").env_remove("GRISTMILL_REDIS_SERVER"));
    assert_says(&error(&demo.end(), 3), &["no redis-server", "apt-get install redis-server"]);
    // A program that is no worker.
    let demo = Demo::start(&mut command(&["--worker", binaries::find("gristmill").to_str().unwrap()]));
    let output = demo.end();
    assert_eq!(output.code, 2, "{}", output.stdout);
    assert_says(&output.stderr, &["--worker=", "/gristmill has ended with exit code 2 before it was ready: run `"]);
}
