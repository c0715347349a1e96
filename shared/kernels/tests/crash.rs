//! What each way to crash does to a process: this test binary runs itself as a child.
#![cfg(target_os = "linux")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use gristmill_kernels::test_kernels::{crash, for_tests};

const HOW: &str = "GRISTMILL_TEST_CRASH";
const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

/// Not a test by itself: what the child runs.
#[test]
#[ignore = "the child of the other tests"]
fn child() {
    let Ok(how) = std::env::var(HOW) else { return };
    match crash(how) {
        // without the harness, whose descriptors may be gone
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("refused: {error}");
            std::process::exit(9)
        }
    }
}

fn run(how: &str) -> Output {
    run_within("", how)
}

/// Runs the child under the shell's `limits`, and without core files.
fn run_within(limits: &str, how: &str) -> Output {
    let script = format!("ulimit -c 0; {limits} exec \"$0\" child --exact --ignored --nocapture");
    let binary = std::env::current_exe().unwrap();
    Command::new("sh").arg("-c").arg(script).arg(binary).env(HOW, how).output().unwrap()
}

#[test]
fn signals() {
    assert_eq!(run("abort").status.signal(), Some(SIGABRT));
    assert_eq!(run("raise-abort").status.signal(), Some(SIGABRT));
    assert_eq!(run("segfault").status.signal(), Some(SIGSEGV));
    let output = run("stack-overflow");
    assert_eq!(output.status.signal(), Some(SIGABRT));
    assert!(String::from_utf8_lossy(&output.stderr).contains("overflowed its stack"));
}

#[test]
fn exits() {
    assert_eq!(run("exit").status.code(), Some(3));
    assert_eq!(run("close-fds").status.code(), Some(0));
    // the harness's code for a failed test
    assert_eq!(run("panic").status.code(), Some(101));
}

#[test]
fn prints() {
    let output = run("print");
    assert_eq!(output.status.code(), Some(0));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.matches("of a kernel's output\n").count(), 3, "{lines}");
}

#[test]
fn allocates_until_a_limit_stops_it() {
    let output = run_within("ulimit -v 1000000;", "allocate");
    assert_eq!(output.status.signal(), Some(SIGABRT));
    assert!(String::from_utf8_lossy(&output.stderr).contains("memory allocation of"));
}

#[test]
fn an_unknown_way_is_an_error_that_names_the_others() {
    let error = crash("softly".into()).unwrap_err();
    assert!(error.message().contains("\"softly\"") && error.message().contains("close-fds"), "{error}");
}

#[test]
fn the_table_is_sound() {
    for_tests().and(gristmill_kernels::all()).check().unwrap();
}
