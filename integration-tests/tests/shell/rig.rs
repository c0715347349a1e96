//! What all tests of the shell share.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use gristmill_integration_tests::{Cli, Output, Redis, WorkerOptions, WorkerProcess, binaries, eventually};
use serde_json::Value;

/// A Redis, a worker with one consumer that knows the stock kernels, and the command line.
pub struct Rig {
    /// Ends before its Redis does.
    pub worker: WorkerProcess,
    pub redis: Redis,
    pub cli: Cli,
}

impl Rig {
    pub fn start() -> Self {
        Self::with(WorkerOptions::new())
    }

    pub fn with(worker: WorkerOptions) -> Self {
        let redis = Redis::start();
        let worker = worker.start(&redis);
        let cli = Cli::new(&redis);
        let rig = Self { worker, redis, cli };
        rig.wait_for_kernels();
        rig
    }

    /// Waits until the kernels of the worker are known.
    pub fn wait_for_kernels(&self) {
        eventually("the worker's kernels", || rows(&self.cli.run(&["kernels", "--json"])).first().cloned());
    }
}

/// Fragments of texts that are made for programmers.
const FOR_PROGRAMMERS: [&str; 9] =
    ["panicked", "Err(", "Error {", "Some(", "RedisError", "kind:", "Kind(", "marker", "@user_script"];

/// Asserts that whatever a program said to people was meant for them.
pub fn assert_for_people(text: &str) {
    for fragment in FOR_PROGRAMMERS {
        assert!(!text.contains(fragment), "{fragment:?} in: {text}");
    }
}

/// Asserts that a command ended with this code and one line of error; returns the line.
/// Warnings may stand before it.
pub fn error(output: &Output, code: i32) -> String {
    assert_eq!(output.code, code, "stdout: {}\nstderr: {}", output.stdout, output.stderr);
    assert_for_people(&output.stderr);
    let is_warning = |line: &&str| line.starts_with("gristmill: warning: ");
    let lines: Vec<&str> = output.stderr.lines().filter(|line| !is_warning(line)).collect();
    assert_eq!(lines.len(), 1, "not one line: {}", output.stderr);
    lines[0].strip_prefix("gristmill: ").unwrap_or_else(|| panic!("who says so? {}", lines[0])).to_owned()
}

/// Asserts that a text holds all of these.
pub fn assert_says(text: &str, fragments: &[&str]) {
    for fragment in fragments {
        assert!(text.contains(fragment), "no {fragment:?} in: {text}");
    }
}

/// The data of a command that went well and said nothing else.
pub fn quiet(output: Output) -> String {
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    output.stdout
}

/// The objects that a listing prints.
pub fn rows(output: &Output) -> Vec<Value> {
    assert_eq!(output.code, 0, "{}", output.stderr);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stdout))
}

/// A command whose pipes belong to the test.
pub fn command(redis: &Redis, args: &[&str]) -> Command {
    let mut command = Command::new(binaries::find("gristmill"));
    command.args(args).env("GRISTMILL_REDIS", redis.url()).env_remove("GRISTMILL_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts such a command.
pub fn piped(redis: &Redis, args: &[&str]) -> Child {
    command(redis, args).spawn().unwrap()
}

/// Waits for the end of such a command; returns its code and what it said.
pub fn end(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    let status = eventually("the command ends", || child.try_wait().unwrap());
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (status.code(), said)
}

/// The lines of JSON that a command prints.
pub fn json_lines(text: &str) -> Vec<Value> {
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(read).collect()
}

/// The batch of a task's id.
pub fn batch_of(task: &str) -> &str {
    task.trim().split_once('.').unwrap_or_else(|| panic!("{task} is no task")).0
}
