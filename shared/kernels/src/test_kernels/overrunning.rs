//! `overrun`: a task that takes more than it may.

use std::fs::OpenOptions;
use std::hint;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use gristmill_shared::{KernelError, TaskContext, kernel};

const CHUNK: usize = 4 << 20;
/// Where `memory` ends if nothing stops it before.
const MEMORY_MAX: usize = 2 << 30;
/// More than most machines have, less than any address space.
const JUMP: usize = 1 << 40;
/// The ways there are, for the error.
const WAYS: &str = "memory, jump, program, time, programs, soft or leak";

/// Takes more than a task may, in the way that `how` names, after it has added a line to the file `trace`.
///
/// - `memory`: takes memory bit by bit and writes to it, up to 2 GiB
/// - `jump`: asks for 1 TiB at once
/// - `program`: starts a program that takes memory without end, and waits for it
/// - `time`: computes for ever in a tight loop
/// - `programs`: the same, after it has started one program in its process group and one in a session of its own,
///   whose pids the line names
/// - `soft`: waits until its soft time limit has passed, then returns
/// - `leak`: leaves 4 MiB behind, then returns
#[kernel]
pub fn overrun(ctx: &TaskContext, how: String, trace: String) -> Result<(), KernelError> {
    match how.as_str() {
        "memory" => note(&trace, &how).and_then(|()| take_memory()),
        "jump" => note(&trace, &how).map(|()| drop(hint::black_box(vec![1_u8; JUMP]))),
        "program" => note(&trace, &how).and_then(|()| run_hungry_program()),
        "time" => note(&trace, &how).and_then(|()| compute_for_ever()),
        "programs" => leave_programs().and_then(|pids| note(&trace, &pids)).and_then(|()| compute_for_ever()),
        "soft" => note(&trace, &how).map(|()| wait_softly(ctx)),
        "leak" => note(&trace, &how).map(|()| std::mem::forget(hint::black_box(vec![1_u8; CHUNK]))),
        _ => Err(KernelError::fatal(format!("there is no way called {how:?}: use {WAYS}"))),
    }
}

fn note(trace: &str, line: &str) -> Result<(), KernelError> {
    let mut file = OpenOptions::new().create(true).append(true).open(trace)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

fn take_memory() -> Result<(), KernelError> {
    let mut taken = Vec::new();
    while taken.len() * CHUNK < MEMORY_MAX {
        taken.push(hint::black_box(vec![1_u8; CHUNK]));
        // Slow enough that a look now and then sees it grow.
        thread::sleep(Duration::from_millis(1));
    }
    Err(KernelError::fatal(format!("took {MEMORY_MAX} bytes and nothing stopped it")))
}

/// It looks for the last line of what has no end.
fn run_hungry_program() -> Result<(), KernelError> {
    let mut command = Command::new("tail");
    command.arg("/dev/zero").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status()?;
    Err(KernelError::fatal(format!("the program ended by itself: {status}")))
}

fn compute_for_ever() -> Result<(), KernelError> {
    let mut number = 1_u64;
    loop {
        number = hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

fn leave_programs() -> Result<String, KernelError> {
    let program = |name: &str, args: &[&str]| {
        let mut command = Command::new(name);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let in_group = program("sleep", &["3600"]).spawn()?.id();
    let apart = program("setsid", &["sleep", "3600"]).spawn()?.id();
    Ok(format!("{in_group} {apart}"))
}

fn wait_softly(ctx: &TaskContext) {
    while !ctx.soft_limit_passed() {
        thread::sleep(Duration::from_millis(5));
    }
}
