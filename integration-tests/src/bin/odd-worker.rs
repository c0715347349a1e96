//! A worker for the tests: its preload leaves a trace in a file and a value for a kernel, and other kernels
//! leave programs behind, or tell where they run.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use gristmill_worker::{KernelError, Worker, kernel, kernels};

/// What was loaded, shared by all consumers.
static LOADED: OnceLock<u32> = OnceLock::new();
/// As large as asked for.
static MODEL: OnceLock<Vec<u8>> = OnceLock::new();

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

/// Writes its number and its host into `$VISITS`, and waits as long as a file `$GATE.<host>` is there, unless
/// it is among the first tasks that need not.
#[kernel]
fn visit(number: u64, free: u64) -> Result<String, KernelError> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
    let variable = |name: &str| std::env::var(name).map_err(|_| KernelError::fatal(format!("{name} is not set")));
    let mut file = OpenOptions::new().create(true).append(true).open(variable("VISITS")?)?;
    // One write, so that lines of several processes do not mix.
    file.write_all(format!("{number} {host}\n").as_bytes())?;
    let gate = format!("{}.{host}", variable("GATE")?);
    while number >= free && std::path::Path::new(&gate).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(5));
    Ok(host)
}

/// Appends its number to `$VISITS`, takes its time, and returns the square; an odd multiple of 7 fails.
#[kernel]
fn noted(number: u64, wait_us: u64) -> Result<u64, KernelError> {
    let path = std::env::var("VISITS").map_err(|_| KernelError::fatal("VISITS is not set"))?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{number}\n").as_bytes())?;
    std::thread::sleep(Duration::from_micros(wait_us));
    if number % 14 == 7 { Err(KernelError::new("unlucky")) } else { Ok(number * number) }
}

fn load() -> std::io::Result<()> {
    LOADED.get_or_init(|| 42);
    let bytes = std::env::var("PRELOAD_BYTES").ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
    MODEL.get_or_init(|| vec![1; bytes]);
    let Some(path) = std::env::var_os("PRELOAD_TRACE") else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{}", std::process::id())
}

fn main() -> ExitCode {
    Worker::new(kernels![loaded, leave_program, visit, noted]).preload(load).main()
}
