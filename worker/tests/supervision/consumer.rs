//! A consumer that computes nothing and behaves as its scenario says.

use std::process::{Command, Stdio};
use std::time::Duration;

use gristmill_shared::BatchId;

use crate::roles::ConsumerStart;
use crate::slot::{Begin, Leaving};
use crate::{clock, first, read_blocking, say, scenario};

/// Runs it.
pub fn run(start: ConsumerStart) -> u8 {
    say(format_args!("consumer {}", std::process::id()));
    let scenario = scenario();
    if scenario == "never_joins" {
        say(format_args!("started_ms {}", clock::monotonic_ms()));
        return 1;
    }
    // To have joined means to have spoken with Redis.
    if scenario != "no_redis" {
        start.slot.set_joined();
    }
    match scenario.as_str() {
        "files" => list_files(),
        "aborts" if first("aborted") => {
            begin(&start, None);
            start.slot.note_progress(None, "row 7");
            std::process::abort()
        }
        "exits" if first("exited") => {
            begin(&start, None);
            return 0;
        }
        "panics" if first("panicked") => {
            begin(&start, None);
            panic!("on purpose")
        }
        "busy" => busy(&start, None),
        "busy_for_long" => {
            begin(&start, None);
            say(format_args!("busy {}", std::process::id()));
            read_blocking(&start.control);
            say(format_args!("told to drain"));
            pause()
        }
        "overruns" if first("overran") => busy(&start, Some(Duration::from_millis(50))),
        "program" => {
            program("sleep", &["600"]);
            busy(&start, None)
        }
        "programs" if first("programs") => {
            program("sleep", &["600"]);
            program("setsid", &["sleep", "600"]);
            // Its parent ends, so that this consumer adopts it.
            program("sh", &["-c", "setsid sleep 600 & sleep 600"]);
            busy(&start, None)
        }
        _ => {}
    }
    idle(&start)
}

fn begin(start: &ConsumerStart, time_limit: Option<Duration>) {
    let task = BatchId::new().task(0);
    assert!(start.slot.begin(&Begin { position: 4, item: 1, task, kernel: 0, time_limit, memory: None }));
}

/// Runs a task for ever, deaf to the supervisor.
fn busy(start: &ConsumerStart, time_limit: Option<Duration>) -> ! {
    begin(start, time_limit);
    say(format_args!("busy {}", std::process::id()));
    pause()
}

fn pause() -> ! {
    loop {
        nix::unistd::pause();
    }
}

fn idle(start: &ConsumerStart) -> u8 {
    say(format_args!("idle {}", std::process::id()));
    if read_blocking(&start.control).is_empty() {
        say(format_args!("orphaned"));
    }
    start.slot.leave(Leaving::Drain);
    0
}

/// Starts a program that holds this process's stderr open: the end of file there proves its death.
#[expect(clippy::zombie_processes, reason = "who ends and reaps it is what the scenario is about")]
fn program(name: &str, args: &[&str]) {
    let child = Command::new(name).args(args).stdout(Stdio::null()).spawn().unwrap();
    say(format_args!("program {}", child.id()));
}

fn list_files() {
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        if let Ok(target) = std::fs::read_link(&path) {
            say(format_args!("file {}", target.display()));
        }
    }
}
