//! The supervisor with real processes, but without Redis: consumers and agent are doubles.
//!
//! The supervisor's own files are compiled into this program, beside a `consumer` and an `agent` that
//! do what a scenario asks for. The program starts itself again as the worker under test.

#![expect(dead_code, reason = "the doubles use less of the worker's modules than the worker does")]
#![expect(unused_imports, reason = "without the test harness, the modules' own tests are compiled but empty")]

mod agent;
#[path = "../../src/clock.rs"]
mod clock;
#[path = "../../src/config.rs"]
mod config;
mod consumer;
#[path = "../../src/control.rs"]
mod control;
#[path = "../../src/descriptors.rs"]
mod descriptors;
#[path = "../../src/loading.rs"]
mod loading;
#[path = "../../src/note.rs"]
mod note;
#[path = "../../src/process.rs"]
mod process;
#[path = "../../src/roles.rs"]
mod roles;
mod scenarios;
#[path = "../../src/slot/mod.rs"]
mod slot;
#[path = "../../src/supervisor/mod.rs"]
mod supervisor;
mod worker;

use std::process::ExitCode;

/// Set in a worker under test: what its doubles do.
const SCENARIO: &str = "GM_TEST_SCENARIO";
/// Set in a worker under test: a folder for marks that outlive a process.
const FOLDER: &str = "GM_TEST_FOLDER";

fn main() -> ExitCode {
    if std::env::var_os(SCENARIO).is_some() {
        return worker::run();
    }
    let args: Vec<_> = std::env::args().skip(1).collect();
    let says = |word: &str| args.iter().any(|arg| arg == word);
    // nextest asks for the tests, then for those that are ignored, and runs each by its exact name.
    if says("--list") {
        for (name, _) in scenarios::ALL.iter().filter(|_| !says("--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filter = args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str);
    let wanted = |name: &str| if says("--exact") { name == filter } else { name.contains(filter) };
    for (name, scenario) in scenarios::ALL.iter().filter(|(name, _)| wanted(name)) {
        println!("test {name} ...");
        scenario();
    }
    println!("all scenarios passed");
    ExitCode::SUCCESS
}

/// What the doubles do.
fn scenario() -> String {
    std::env::var(SCENARIO).unwrap_or_default()
}

/// True for the first process of this worker that asks.
fn first(mark: &str) -> bool {
    let folder = std::env::var_os(FOLDER).unwrap();
    std::fs::File::create_new(std::path::Path::new(&folder).join(mark)).is_ok()
}

/// Writes a line to stderr in one piece: several processes write there.
fn say(line: std::fmt::Arguments<'_>) {
    nix::unistd::write(std::io::stderr(), format!("{line}\n").as_bytes()).unwrap();
}

/// Waits until the pipe has something to say: bytes, or none at its end.
fn read_blocking(pipe: &impl std::os::fd::AsFd) -> Vec<u8> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let _ = poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
    let mut buffer = [0; 4096];
    let count = nix::unistd::read(pipe, &mut buffer).unwrap_or(0);
    buffer[..count].to_vec()
}
