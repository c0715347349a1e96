//! `crash`: a task that takes its process with it.

use std::hint::black_box;
use std::path::Path;
use std::{fs, process};

use gristmill_shared::{KernelError, kernel};
use nix::sys::signal::{Signal, raise};

/// Where `allocate` and `stack-overflow` end if nothing stops them before.
const MEMORY_MAX: usize = 8 << 30;
const CHUNK: usize = 16 << 20;
const FRAME: usize = 64 << 10;
/// The ways there are, for the error.
const WAYS: &str = "abort, raise-abort, segfault, exit, exit-0, stack-overflow, allocate, close-fds, print or panic";

/// Harms its own process, in the way that `how` names.
///
/// - `abort`: SIGABRT
/// - `raise-abort`: SIGABRT, raised once and without abort(), which would insist on it
/// - `segfault`: SIGSEGV
/// - `exit`, `exit-0`: the process exits with code 3, or 0
/// - `stack-overflow`: recursion without end
/// - `allocate`: takes memory and writes to it, up to 8 GiB; an error if it gets there
/// - `close-fds`: closes every file descriptor above 2, then returns
/// - `print`: writes lines to stdout, then returns
/// - `panic`: panics
#[kernel]
pub fn crash(how: String) -> Result<(), KernelError> {
    match how.as_str() {
        "abort" => process::abort(),
        "raise-abort" => {
            raise(Signal::SIGABRT)?;
            Err(KernelError::fatal("this process ignores SIGABRT"))
        }
        "segfault" => segfault(),
        "exit" => process::exit(3),
        "exit-0" => process::exit(0),
        "stack-overflow" => Err(survived(&how, recurse(0))),
        "allocate" => Err(survived(&how, allocate())),
        "close-fds" => close_descriptors(),
        "print" => {
            print();
            Ok(())
        }
        "panic" => panic!("a panic, as asked for"),
        _ => Err(KernelError::fatal(format!("there is no crash called {how:?}: use {WAYS}"))),
    }
}

fn survived(how: &str, bytes: usize) -> KernelError {
    KernelError::fatal(format!("{how} went up to {bytes} bytes and nothing stopped it"))
}

fn segfault() -> Result<(), KernelError> {
    // The first one only makes Rust's own handler, which looks for stack overflows, step aside.
    for _ in 0..2 {
        raise(Signal::SIGSEGV)?;
    }
    Err(KernelError::fatal("this process ignores SIGSEGV"))
}

/// Takes a frame's worth of stack, then another; returns how much there was at the deepest.
#[inline(never)]
fn recurse(above: usize) -> usize {
    let frame = black_box([above as u8; FRAME]);
    if above >= MEMORY_MAX {
        return above;
    }
    let deepest = recurse(above + FRAME);
    // used after the call, so that the frame has to stay
    black_box(&frame);
    deepest
}

fn allocate() -> usize {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while taken.len() * CHUNK < MEMORY_MAX {
        // ones: pages of zeros would not be there until they are written
        taken.push(black_box(vec![1; CHUNK]));
    }
    taken.len() * CHUNK
}

fn close_descriptors() -> Result<(), KernelError> {
    let listed = if Path::new("/proc/self/fd").exists() { "/proc/self/fd" } else { "/dev/fd" };
    let names: Vec<_> = fs::read_dir(listed)?.flatten().map(|entry| entry.file_name()).collect();
    let numbers = names.iter().filter_map(|name| name.to_str()?.parse::<i32>().ok());
    for descriptor in numbers.filter(|number| *number > 2) {
        // the one that read the directory is closed already
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

fn print() {
    for line in 1..=3 {
        println!("line {line} of a kernel's output");
    }
}
