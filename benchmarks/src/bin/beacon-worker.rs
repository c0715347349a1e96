//! The worker of the recovery benchmark: its tasks tell when they start, and end when they are told to.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use gristmill_worker::{KernelError, TaskContext, kernel, kernels};

/// Says to whoever listens at `socket` which task starts and in which process, and waits for one byte.
#[kernel]
fn beacon(ctx: &TaskContext, socket: String) -> Result<(), KernelError> {
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{} {}", ctx.task(), std::process::id())?;
    stream.read_exact(&mut [0])?;
    Ok(())
}

/// Takes that long.
#[kernel]
fn pass(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn main() -> ExitCode {
    gristmill_worker::main(kernels![beacon, pass])
}
