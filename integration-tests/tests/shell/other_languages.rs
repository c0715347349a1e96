//! A client in another language, written from the documentation of the protocol alone.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use gristmill_integration_tests::Redis;

use crate::rig::{Rig, assert_says, rows};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/client.py");

/// A Python that has the modules which the client needs; in CI there must be one.
fn python() -> Option<String> {
    let python = std::env::var("GRISTMILL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python).args(["-c", "import redis, msgpack"]).stderr(Stdio::null()).status();
    if probe.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    let missing = format!("{python} lacks the modules redis and msgpack (see .ci/tools)");
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    eprintln!("skipped: {missing}");
    None
}

/// Runs the client; returns what it printed.
fn square(python: &str, redis: &mut Redis, n: &str) -> Output {
    let socket = redis.server().socket_path().to_owned();
    Command::new(python).arg(CLIENT).arg(socket).args(["gm", n]).output().unwrap()
}

#[test]
fn python_submits_a_square_and_reads_its_result() {
    assert!(Path::new(CLIENT).is_file(), "{CLIENT} is missing");
    let Some(python) = python() else { return };
    let mut rig = Rig::start();
    let output = square(&python, &mut rig.redis, "7");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"49\n"[..]), "{said}");
    let output = square(&python, &mut rig.redis, "4000000000");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_says(&said, &["failed", "4000000000"]);
    let queue = &rows(&rig.cli.run(&["queues", "--json"]))[0];
    assert_eq!((&queue["totals"]["enqueued"], &queue["ready_tasks"]), (&2.into(), &0.into()));
}
