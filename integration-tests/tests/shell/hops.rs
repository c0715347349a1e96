//! One task, followed by its id through all nine hops.
//!
//! The scripts run inside Redis and log nothing: hops four, six and eight are seen in what the calls
//! of them say (`batch_enqueued`, `message_claimed`, `message_settled`).

use gristmill_integration_tests::WorkerOptions;
use gristmill_shared::events;
use serde_json::Value;

use crate::rig::{Rig, batch_of, json_lines};

/// When an event of the task was logged; asserts that it was, once.
fn at(lines: &[Value], task: &str, event: &str) -> String {
    let is_of = |line: &Value| match line["task"].as_str() {
        Some(other) => other == task,
        None => line["batch"].as_str() == Some(batch_of(task)),
    };
    let found: Vec<_> = lines.iter().filter(|line| line["event"] == event && is_of(line)).collect();
    assert_eq!(found.len(), 1, "{event}: {lines:#?}");
    found[0]["timestamp"].as_str().expect("a line has a time").to_owned()
}

fn assert_in_order(times: &[String]) {
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn one_task_is_followed_by_its_id() {
    let rig = Rig::with(WorkerOptions::new().debug());
    let cli = rig.cli.clone().variable("GRISTMILL_LOG", "debug").variable("GRISTMILL_LOG_FORMAT", "json");
    let output = cli.run(&["submit", "square", "7", "--wait"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, "49\n"), "{}", output.stderr);
    let client = json_lines(&output.stderr);
    let submitted = client.iter().find(|line| line["event"] == events::TASK_SUBMITTED).expect("task_submitted");
    let task = submitted["task"].as_str().expect("a task").to_owned();
    rig.worker.log.wait_for(events::MESSAGE_SETTLED, |line| line.text("task") == task);
    let worker: Vec<Value> =
        rig.worker.log.all(|line| !line.event().is_empty()).iter().map(|l| l.json().clone()).collect();

    let asked = at(&client, &task, events::TASK_SUBMITTED);
    let enqueued = at(&client, &task, events::BATCH_ENQUEUED);
    let claimed = at(&worker, &task, events::MESSAGE_CLAIMED);
    let started = at(&worker, &task, events::TASK_STARTED);
    let ended = at(&worker, &task, events::TASK_ENDED);
    let settled = at(&worker, &task, events::MESSAGE_SETTLED);
    let delivered = at(&client, &task, events::RESULT_DELIVERED);
    // A script has done its work before its caller logs the answer, so that others may log first.
    assert_in_order(&[asked.clone(), enqueued, delivered.clone()]);
    assert_in_order(&[asked, claimed, started, ended.clone(), settled]);
    assert_in_order(&[ended, delivered]);
}
