//! A worker for the tests: what it preloads and initialises is kept for its kernels, which tell of it, of their progress and of
//! their errors.

use std::process::ExitCode;
use std::time::Duration;

use gristmill_worker::{Keep, KernelError, TaskContext, Worker, kernel, kernels};

/// As large as `MODEL_BYTES` says; loaded once, before the fork.
struct Model(Vec<u8>);

/// Made by each consumer for itself.
struct Scratch {
    pid: u32,
    threads: usize,
    bytes: Vec<u8>,
}

struct Absent;

/// Size and first byte of the model, and the process that answers.
#[kernel]
fn model(ctx: &TaskContext, wait_ms: u64) -> Result<(usize, u8, u32), KernelError> {
    std::thread::sleep(Duration::from_millis(wait_ms));
    let Model(bytes) = ctx.state()?;
    Ok((bytes.len(), bytes.first().copied().unwrap_or(0), std::process::id()))
}

/// Which process made the scratch, how many threads that has left, and which process answers.
#[kernel]
fn scratch(ctx: &TaskContext) -> Result<(u32, usize, u32), KernelError> {
    let scratch = ctx.state::<Scratch>()?;
    // Long enough for the memory to be looked at.
    std::thread::sleep(Duration::from_millis(if scratch.bytes.is_empty() { 0 } else { 150 }));
    Ok((scratch.pid, scratch.threads, std::process::id()))
}

/// Asks for what nobody keeps.
#[kernel]
fn absent(ctx: &TaskContext) -> Result<(), KernelError> {
    ctx.state::<Absent>().map(drop)
}

/// Goes so many steps of 1,000 and tells at each how far it is; then waits until a file is there.
#[kernel]
fn steps(ctx: &TaskContext, count: u32, until: String) -> u32 {
    go(ctx, count);
    wait_for(&until);
    count
}

/// The same, and then dies.
#[kernel]
fn steps_to_death(ctx: &TaskContext, count: u32) {
    go(ctx, count);
    std::process::abort();
}

/// Tells something new of itself all the time, until a file is there; returns how often.
#[kernel]
fn chatter(ctx: &TaskContext, until: String) -> u64 {
    let mut told = 0;
    while told % 10_000 != 0 || !std::path::Path::new(&until).exists() {
        told += 1;
        ctx.progress((told % 1_000) as f64 / 1_000.0, "on and on");
    }
    told
}

fn go(ctx: &TaskContext, count: u32) {
    for step in 1..=count {
        ctx.progress(f64::from(step) / 1_000.0, &format!("step {step} of 1000"));
    }
}

fn wait_for(file: &str) {
    while !std::path::Path::new(file).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[derive(Debug)]
struct Load(std::num::ParseIntError);

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot load the table")
    }
}

impl std::error::Error for Load {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Fails in this way: `chain`, `panic`, or with details of so many bytes.
#[kernel]
fn fails(how: String, bytes: usize) -> Result<(), KernelError> {
    match how.as_str() {
        "chain" => Err("x".parse::<i32>().map_err(Load).unwrap_err().into()),
        "panic" => panic!("on purpose"),
        _ => Err(KernelError::fatal("exit status 3").kind("exit").details(&(3, "o".repeat(bytes)))),
    }
}

fn model_bytes() -> Result<Model, std::num::ParseIntError> {
    let bytes = std::env::var("MODEL_BYTES").map_or(Ok(1_000), |bytes| bytes.parse())?;
    Ok(Model(vec![7; bytes]))
}

fn make_scratch() -> Result<Scratch, String> {
    let how = std::env::var("INIT").unwrap_or_default();
    match how.as_str() {
        "error" => return Err("no scratch disk".to_owned()),
        "panic" => panic!("no scratch disk at all"),
        "hang" => loop {
            std::thread::park();
        },
        _ => {}
    }
    // Threads may be started here, and stay.
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    let threads = std::fs::read_dir("/proc/self/task").map_err(|error| error.to_string())?.count();
    let bytes = vec![1; if how == "large" { 200 << 20 } else { 0 }];
    Ok(Scratch { pid: std::process::id(), threads, bytes })
}

fn main() -> ExitCode {
    let kernels = kernels![model, scratch, absent, steps, steps_to_death, chatter, fails];
    Worker::new(kernels).preload(model_bytes).preload(|| Keep(7u32)).preload(|| {}).init(make_scratch).main()
}
