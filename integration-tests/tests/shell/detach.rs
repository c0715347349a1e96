//! A map that is left to itself, and its results later.

use std::fs;

use gristmill_integration_tests::{WorkerOptions, eventually};
use nix::sys::signal::Signal;

use crate::rig::{Rig, assert_says, error, json_lines, quiet};

#[test]
fn results_of_a_detached_map_stream_in_order_while_it_runs() {
    let rig = Rig::with(WorkerOptions::new().consumers(2));
    let dir = tempfile::tempdir().unwrap();
    // The first is the last to end.
    let input: String = std::iter::once("1\n").chain(std::iter::repeat_n("0.002\n", 300)).collect();
    fs::write(dir.path().join("in"), input).unwrap();
    let path = |name: &str| dir.path().join(name).into_os_string().into_string().unwrap();
    let batch = quiet(rig.cli.run(&["map", "sleep", "--input", &path("in"), "--detach"]));
    let batch = batch.trim();
    let said = error(&rig.cli.run(&["results", batch, "--wait", "--timeout", "0.1s"]), 4);
    assert_says(&said, &[batch, "goes on"]);
    assert_eq!(quiet(rig.cli.run(&["results", batch, "--wait"])), "null\n".repeat(301));
    let out = path("out");
    quiet(rig.cli.run(&["results", batch, "--wait", "--records", "--output", &out]));
    let records = json_lines(&fs::read_to_string(out).unwrap());
    let ids: Vec<_> = records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, Vec::from_iter((0..301).map(|index| format!("{batch}.{index}"))));
}

#[test]
fn results_of_a_detached_map_come_as_soon_as_it_is_their_turn() {
    let rig = Rig::start();
    let batch = quiet(rig.cli.run_with(&["map", "sleep", "--detach"], "0\n0.001\n600\n"));
    let batch = batch.trim();
    let said = rig.cli.run(&["results", batch, "--wait", "--timeout", "2s"]);
    assert_eq!((said.code, said.stdout.as_str()), (4, "null\nnull\n"), "{}", said.stderr);
    rig.cli.run(&["cancel", batch]).ok();
    let ended = rig.cli.run(&["results", batch, "--wait"]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_says(&ended.stdout, &["null\nnull\n{\"$error\":", "cancelled"]);
}

#[test]
fn a_map_that_cannot_be_detached_as_a_whole_is_cancelled() {
    let mut rig = Rig::start();
    quiet(rig.cli.run(&["submit", "square", "6", "--wait"]));
    rig.cli.run(&["queue", "pause", "default"]).ok();
    let said = error(&rig.cli.run_with(&["map", "square", "--detach"], "1\n2\nthree\n"), 2);
    assert_says(&said, &["line 3", "cancelled what had not started", "--check"]);
    let batch = rig.redis.matching("{gm}:batch:*").pop().unwrap();
    assert_eq!(rig.redis.command::<String>(&format!("HGET {batch} state")), "sealed");
    assert_eq!(rig.redis.command::<Vec<String>>("HVALS {gm}:cancelled"), ["-"]);
    let before = rig.redis.depth();
    let mut map = rig.cli.spawn(&["map", "square", "--detach"]);
    map.write("1\n");
    eventually("it is enqueued", || (rig.redis.depth() > before).then_some(()));
    map.signal(Signal::SIGINT);
    let output = map.wait();
    assert_eq!(output.code, 130, "{}", output.stderr);
    assert_says(&output.stderr, &["interrupted before all was submitted", "cancelled"]);
    assert_eq!(rig.redis.command::<Vec<String>>("HVALS {gm}:cancelled"), ["-", "-"]);
}
