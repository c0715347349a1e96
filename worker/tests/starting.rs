//! What a worker program refuses before its supervisor works, and with which exit code.
//!
//! The program starts itself again as the worker: a worker forks, and a test harness has threads.

use std::process::{Command, ExitCode};

use gristmill_worker::{Keep, Worker, kernels};

/// Set in a worker under test: what its `preload` does.
const PRELOAD: &str = "GM_TEST_PRELOAD";

fn main() -> ExitCode {
    if let Ok(preload) = std::env::var(PRELOAD) {
        return worker(&preload);
    }
    // nextest asks for the tests, then for those that are ignored.
    if std::env::args().any(|arg| arg == "--list") {
        if std::env::args().all(|arg| arg != "--ignored") {
            println!("refusals: test");
        }
        return ExitCode::SUCCESS;
    }
    let thread = "this process has 2 threads, and a worker may only fork while it has one: \
                  start no thread before Worker::main, and let preload end those that it starts";
    refused("thread", &[], 70, &[thread]);
    refused("error", &[], 2, &["preload failed: the model is missing"]);
    refused(
        "one_type",
        &[],
        70,
        &["preload and init keep two values of the type u32: a kernel could not tell them apart"],
    );
    refused("none", &["--test-kernels"], 2, &["--test-kernels: this worker has none"]);
    refused(
        "none",
        &["-c", "many", "--grace", "soon"],
        2,
        &[
            "--consumers is \"many\": use auto or a number from 1 to 1024",
            "--grace is \"soon\": use for instance 500ms, 10s or 2m",
        ],
    );
    refused("twice", &[], 70, &["two kernels are called \"square\""]);
    println!("all refusals are as they should be");
    ExitCode::SUCCESS
}

fn worker(preload: &str) -> ExitCode {
    let stock = || kernels![gristmill_kernels::square];
    match preload {
        "thread" => Worker::new(stock()).preload(|| drop(std::thread::spawn(std::thread::park))).main(),
        "error" => Worker::new(stock()).preload(|| Err::<(), _>("the model is missing")).main(),
        "one_type" => Worker::new(stock()).preload(|| Keep(1u32)).init(|| Ok::<u32, String>(2)).main(),
        "twice" => gristmill_worker::main(stock().and(stock())),
        _ => gristmill_worker::main(stock()),
    }
}

fn refused(preload: &str, args: &[&str], code: i32, lines: &[&str]) {
    let output = Command::new(std::env::current_exe().unwrap()).args(args).env(PRELOAD, preload).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), lines.len(), "{stderr}");
    for (found, line) in stderr.lines().zip(lines) {
        assert!(found.starts_with(&format!("gristmill-worker: {line}")), "{found}");
    }
    assert!(output.stdout.is_empty());
}
