//! A worker for the tests: its preload leaves a trace in a file, and a value for its kernel.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::sync::OnceLock;

use gristmill_worker::{Worker, kernel, kernels};

/// What was loaded, shared by all consumers.
static LOADED: OnceLock<u32> = OnceLock::new();

/// The loaded value, and the pid of the process that answers.
#[kernel]
fn loaded(wait_ms: u64) -> (u32, u32) {
    std::thread::sleep(std::time::Duration::from_millis(wait_ms));
    (LOADED.get().copied().unwrap_or(0), std::process::id())
}

fn load() -> std::io::Result<()> {
    let path = std::env::var_os("PRELOAD_TRACE").ok_or(std::io::ErrorKind::NotFound)?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{}", std::process::id())?;
    LOADED.get_or_init(|| 42);
    Ok(())
}

fn main() -> ExitCode {
    Worker::new(kernels![loaded]).preload(load).main()
}
