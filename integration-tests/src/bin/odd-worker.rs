//! A worker for the tests: its preload leaves a trace in a file and a value for a kernel, and another
//! kernel leaves programs behind.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use gristmill_worker::{KernelError, Worker, kernel, kernels};

/// What was loaded, shared by all consumers.
static LOADED: OnceLock<u32> = OnceLock::new();

/// The loaded value, and the pid of the process that answers.
#[kernel]
fn loaded(wait_ms: u64) -> (u32, u32) {
    std::thread::sleep(Duration::from_millis(wait_ms));
    (LOADED.get().copied().unwrap_or(0), std::process::id())
}

/// Starts a program that outlives its task, in a session of its own if wanted; returns its pid.
#[kernel]
fn leave_program(own_session: bool) -> Result<u32, KernelError> {
    let mut command = Command::new(if own_session { "setsid" } else { "sleep" });
    if own_session {
        command.arg("sleep");
    }
    // Nobody reads what it says, and a log is over only when everybody has closed it.
    let child = command.arg("3600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(child.id())
}

fn load() -> std::io::Result<()> {
    LOADED.get_or_init(|| 42);
    let Some(path) = std::env::var_os("PRELOAD_TRACE") else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{}", std::process::id())
}

fn main() -> ExitCode {
    Worker::new(kernels![loaded, leave_program]).preload(load).main()
}
