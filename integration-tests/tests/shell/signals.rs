//! Ctrl-C and SIGTERM.

use std::io::{BufRead, BufReader, Write};

use gristmill_integration_tests::eventually;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::rig::{Rig, assert_for_people, assert_says, batch_of, end, piped, quiet, rows};

/// Interrupts a map after its first result, while the second task runs; the others would run for ten minutes.
fn assert_cancels(signal: Signal, code: i32) {
    let mut rig = Rig::start();
    let mut map = piped(&rig.redis, &["map", "sleep"]);
    // Stays open: there might be more to come.
    let mut stdin = map.stdin.take().unwrap();
    stdin.write_all(b"0\n5\n600\n600\n600\n").unwrap();
    let mut stdout = BufReader::new(map.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "null\n");
    rig.redis.wait_busy();
    signal::kill(Pid::from_raw(map.id() as i32), signal).unwrap();
    let (ended, said) = end(map);
    assert_eq!(ended, Some(code), "{said}");
    assert_eq!(stdout.read_line(&mut line).unwrap(), 0, "{line}");
    assert_for_people(&said);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_says(&said, &["interrupted after 1 results", "what runs goes on", "cancelled what had not started"]);
    let batch = said.trim().rsplit(' ').next().unwrap();
    let status = eventually("the batch has finished", || {
        let status = rows(&rig.cli.run(&["status", batch, "--json"])).remove(0);
        (status["state"] == "finished").then_some(status)
    });
    assert_eq!((&status["succeeded"], &status["cancelled"]), (&2.into(), &3.into()), "{status}");
    assert_eq!(rig.redis.depth(), 0);
}

#[test]
fn ctrl_c_cancels_what_has_not_started() {
    assert_cancels(Signal::SIGINT, 130);
}

#[test]
fn sigterm_does_the_same() {
    assert_cancels(Signal::SIGTERM, 143);
}

#[test]
fn a_signal_ends_waiting_and_the_task_goes_on() {
    let mut rig = Rig::start();
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let waiting = rig.cli.spawn(&["submit", "sleep", "0.5", "--wait"]);
        rig.redis.wait_busy();
        waiting.signal(signal);
        let output = waiting.wait();
        assert_eq!((output.code, output.stdout.as_str()), (code, ""), "{}", output.stderr);
        assert_for_people(&output.stderr);
        let batch = rig.redis.matching("{gm}:batch:*").pop().expect("the newest is the last");
        let batch = batch.strip_prefix("{gm}:batch:").unwrap();
        assert_eq!(quiet(rig.cli.run(&["results", batch, "--wait"])), "null\n");
    }
}

#[test]
fn a_cancelled_batch_stays_cancelled() {
    let mut rig = Rig::start();
    let running = rig.cli.run(&["submit", "sleep", "600"]).ok();
    let waiting = rig.cli.run(&["submit", "square", "7"]).ok();
    rig.redis.wait_busy();
    for task in [&waiting, &running] {
        let output = rig.cli.run(&["cancel", batch_of(task)]);
        assert_says(&output.stderr, &["cancelled", batch_of(task)]);
        output.ok();
    }
    for task in [&waiting, &running] {
        let output = rig.cli.run(&["results", batch_of(task), "--wait"]);
        assert_eq!(output.code, 1);
        assert_says(&output.stdout, &["cancelled", task.trim()]);
        assert_says(&rig.cli.run(&["cancel", task.trim()]).stderr, &["has ended already"]);
    }
}
