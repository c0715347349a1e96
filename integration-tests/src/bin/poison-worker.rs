//! A worker for the tests: its kernels count how often they were begun, and then do something bad.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use gristmill_kernels::square;
use gristmill_kernels::test_kernels::crash;
use gristmill_worker::{KernelError, TaskContext, kernel, kernels};

/// Writes its number into `$TALLY`, then ends in the way that `how` names; empty: well.
#[kernel]
fn tally(number: u64, how: String) -> Result<u64, KernelError> {
    let path = std::env::var_os("TALLY").ok_or_else(|| KernelError::fatal("TALLY is not set"))?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    // One write, so that lines of several processes do not mix.
    file.write_all(format!("{number}\n").as_bytes())?;
    if !how.is_empty() {
        crash(how)?;
    }
    Ok(number)
}

/// Succeeds if this file is there.
#[kernel]
fn needs(path: String) -> Result<(), KernelError> {
    if Path::new(&path).exists() { Ok(()) } else { Err(KernelError::fatal(format!("there is no {path}"))) }
}

/// The first of its batch is as `needs`, the others wait.
#[kernel]
fn needs_or_waits(ctx: &TaskContext, path: String) -> Result<(), KernelError> {
    if ctx.task().index == 0 { needs(path) } else { wait_for(ctx, path).map(drop) }
}

/// Notes how far it is, and waits until this file is there.
#[kernel]
fn wait_for(ctx: &TaskContext, path: String) -> Result<u16, KernelError> {
    ctx.note(&format!("waits for {path}"));
    while !Path::new(&path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(ctx.attempt())
}

/// Starts a program that its own parent leaves behind, in a session of its own; returns its pid, or crashes.
#[kernel]
fn abandon(file: String, how: String) -> Result<(), KernelError> {
    let script = format!("setsid sleep 3600 & echo $! > {file}.new && mv {file}.new {file}");
    let mut command = Command::new("sh");
    // Nobody reads what it says, and a log is over only when everybody has closed it.
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status()?;
    if how.is_empty() { Ok(()) } else { crash(how) }
}

fn main() -> ExitCode {
    gristmill_worker::main(kernels![tally, needs, needs_or_waits, wait_for, abandon, square])
}
