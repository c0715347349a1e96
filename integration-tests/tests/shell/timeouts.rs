//! Exit code 4: nobody waits any longer, and the work continues.

use gristmill_integration_tests::eventually;

use crate::rig::{Rig, assert_says, batch_of, error, json_lines, quiet, rows};

#[test]
fn a_task_goes_on_after_the_timeout() {
    let rig = Rig::start();
    let output = rig.cli.run(&["submit", "sleep", "1", "--wait", "--timeout", "100ms"]);
    assert_eq!(output.stdout, "");
    let line = error(&output, 4);
    assert_says(&line, &["has not ended within", "it goes on"]);
    let task = line.split(' ').next().unwrap();
    let line = error(&rig.cli.run(&["results", batch_of(task), "--wait", "--timeout", "0.1"]), 4);
    assert_says(&line, &[batch_of(task), "goes on"]);
    // Without waiting: nothing is there yet, which is no error.
    let output = rig.cli.run(&["results", batch_of(task)]);
    assert_says(&output.stderr, &["1 of 1 task has not ended yet"]);
    assert_eq!(output.ok(), "");
    assert_eq!(quiet(rig.cli.run(&["results", batch_of(task), "--wait"])), "null\n");
}

#[test]
fn a_map_goes_on_after_the_timeout() {
    let mut rig = Rig::start();
    let output = rig.cli.run_with(&["map", "sleep", "--timeout", "500ms"], "0\n1\n0\n");
    assert_eq!(output.stdout, "null\n");
    let line = error(&output, 4);
    assert_says(&line, &["after 1 results", "gristmill results"]);
    let batch = rig.redis.matching("{gm}:batch:*").pop().unwrap();
    let batch = batch.strip_prefix("{gm}:batch:").unwrap();
    assert_says(&line, &[batch]);
    eventually("the batch has finished", || {
        let status = rows(&rig.cli.run(&["status", batch, "--json"])).remove(0);
        (status["state"] == "finished" && status["succeeded"] == 3).then_some(())
    });
    // Of a batch that was left, all results stay.
    let output = rig.cli.run(&["results", batch, "--wait", "--records"]);
    let indices: Vec<_> = json_lines(&output.stdout).iter().map(|line| line["index"].as_u64()).collect();
    assert_eq!(indices, [Some(0), Some(1), Some(2)], "{}", output.stdout);
}

#[test]
fn no_timeout_is_too_long() {
    let rig = Rig::start();
    for timeout in ["10000000000000000000", "3000000d"] {
        let output = rig.cli.run_with(&["map", "square", "--timeout", timeout], "3\n");
        assert_eq!(quiet(output), "9\n");
        assert_eq!(quiet(rig.cli.run(&["submit", "square", "3", "--wait", "--timeout", timeout])), "9\n");
    }
}
