//! What the commands that look print for programs.

use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};
use serde_json::Value;

use crate::rig::{Rig, assert_says, batch_of, error, rows};

/// Times end in `_at` and are RFC 3339 in UTC; durations end in `_ms` and are numbers.
fn assert_units(value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(assert_units),
        Value::Object(fields) => {
            for (name, value) in fields {
                if name.ends_with("_at") {
                    assert!(value.is_null() || value.as_str().is_some_and(is_rfc3339), "{name}: {value}");
                }
                if name.ends_with("_ms") {
                    assert!(value.is_null() || value.is_u64(), "{name}: {value}");
                }
                assert_units(value);
            }
        }
        _ => {}
    }
}

fn is_rfc3339(text: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = |(c, p): (char, char)| if p == 'd' { c.is_ascii_digit() } else { c == p };
    text.len() == pattern.len() && text.chars().zip(pattern.chars()).all(fits)
}

#[test]
fn nothing_is_an_empty_array() {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    for listing in ["queues", "kernels", "workers"] {
        assert_eq!(rows(&cli.run(&[listing, "--json"])), Vec::<Value>::new());
        let output = cli.run(&[listing]);
        assert_eq!((output.code, output.stdout.as_str()), (0, ""));
        assert_eq!(output.stderr.lines().count(), 1);
    }
}

#[test]
fn the_depth_is_the_length_of_the_list() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    for (priority, count) in [("high", 1), ("normal", 3), ("low", 2)] {
        for _ in 0..count {
            cli.run(&["submit", "square", "7", "--priority", priority]).ok();
        }
    }
    let found = rows(&cli.run(&["queues", "--json"]));
    assert_eq!(found.len(), 1);
    let queue = &found[0];
    assert_eq!(redis.command::<u64>("LLEN {gm}:ready:default"), 3);
    assert_eq!(queue["depth_messages"], serde_json::json!({ "high": 1, "normal": 3, "low": 2 }));
    assert_eq!((&queue["queue"], &queue["ready_tasks"]), (&"default".into(), &6.into()));
    assert_eq!((&queue["paused"], &queue["totals"]["enqueued"]), (&false.into(), &6.into()));
    assert_units(queue);
    let table = cli.run(&["queues"]).ok();
    assert_eq!(table.lines().count(), 2);
    assert_says(&table, &["QUEUE", "READY", "default"]);

    let _worker = WorkerOptions::new().start(&redis);
    eventually("the queue is empty", || {
        let queue = rows(&cli.run(&["queues", "--json"])).remove(0);
        (queue["totals"]["succeeded"] == 6 && queue["ready_tasks"] == 0 && queue["running_tasks"] == 0).then_some(())
    });
    assert_eq!(redis.depth(), 0);
}

#[test]
fn kernels_are_described() {
    let rig = Rig::start();
    let found = rows(&rig.cli.run(&["kernels", "--json"]));
    let names: Vec<_> = found.iter().filter_map(|kernel| kernel["kernel"].as_str()).collect();
    assert_eq!(names, ["echo", "monte_carlo_pi", "sleep", "square", "sum_sqrt", "text.word_count"]);
    let square = &found[3];
    assert_eq!(square["args_schema"]["type"], "integer");
    assert_says(square["doc"].as_str().unwrap(), &["Multiplies a whole number by itself."]);
    assert!(square["last_seen_at"].is_string());
    found.iter().for_each(assert_units);
    assert_eq!(
        (&found[1]["arguments"], &square["arguments"]),
        (&"[samples: integer >= 0, seed: integer >= 0]".into(), &"integer".into())
    );
    assert_says(&rig.cli.run(&["kernels"]).ok(), &["ARGUMENTS", "Counts how often each word stands in a text."]);

    let one = rig.cli.run(&["kernels", "text.word_count"]).ok();
    assert_says(
        &one,
        &["arguments         string\n", "retries           0 (default)\n", "\nA word is a longest run of letters"],
    );
    assert_eq!(rows(&rig.cli.run(&["kernels", "square", "--json"])), std::slice::from_ref(square));
    let unknown = error(&rig.cli.run(&["kernels", "sqare"]), 5);
    assert_eq!(unknown, "no worker offers the kernel \"sqare\"; did you mean square?");
}

#[test]
fn each_consumer_is_shown() {
    let mut rig = Rig::with(WorkerOptions::new().consumers(2));
    let task = rig.cli.run(&["submit", "sleep", "600"]).ok();
    rig.redis.wait_busy();
    let shown = || rows(&rig.cli.run(&["workers", "--consumers", "--json"]));
    let found = eventually("the worker shows the task", || Some(shown()).filter(|all| all.iter().any(is_running)));
    let pids: Vec<_> = found.iter().map(|consumer| consumer["pid"].as_i64().unwrap()).collect();
    let living: Vec<_> = rig.worker.consumers().iter().map(|(process, _)| i64::from(process.pid)).collect();
    assert_eq!(pids, living);
    let ids: Vec<_> = found.iter().map(|consumer| consumer["consumer"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, rig.worker.consumers().into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    for consumer in &found {
        assert_units(consumer);
        assert!(consumer["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{consumer}");
    }
    let running = found.iter().find(|consumer| is_running(consumer)).unwrap();
    assert_eq!((&running["task"], &running["kernel"]), (&task.trim().into(), &"sleep".into()));
    let table = rig.cli.run(&["workers", "--consumers"]).ok();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert_says(&table, &["RUNS FOR", "idle", task.trim(), &pids[0].to_string()]);
    rig.cli.run(&["cancel", batch_of(&task)]).ok();
}

fn is_running(consumer: &Value) -> bool {
    consumer["state"] == "running"
}

#[test]
fn a_batch_tells_how_far_it_is() {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    let task = cli.run(&["submit", "square", "7"]).ok();
    let status = || rows(&cli.run(&["status", batch_of(&task), "--json"])).remove(0);
    let waiting = status();
    assert_eq!((&waiting["state"], &waiting["ended_percent"]), (&"sealed".into(), &0.0.into()));
    assert!(waiting["left_ms"].is_null(), "{waiting}");
    let _worker = WorkerOptions::new().start(&redis);
    cli.run(&["results", batch_of(&task), "--wait"]).ok();
    let finished = status();
    assert_eq!((&finished["state"], &finished["ended_percent"]), (&"finished".into(), &100.0.into()));
    assert!(finished["elapsed_ms"].as_u64() > Some(0) && finished["tasks_per_second"].is_number(), "{finished}");
    assert_units(&finished);
    assert_eq!(status(), finished, "the time of a finished batch stands still");
}

#[test]
fn a_worker_and_its_running_task_are_shown() {
    let mut rig = Rig::with(WorkerOptions::new().consumers(2));
    let task = rig.cli.run(&["submit", "sleep", "600"]).ok();
    rig.redis.wait_busy();
    let worker = eventually("the worker shows the task", || {
        let worker = rows(&rig.cli.run(&["workers", "--json"])).pop()?;
        (worker["running_tasks"] == 1).then_some(worker)
    });
    assert_eq!((&worker["consumers"], &worker["queues"]), (&2.into(), &vec!["default"].into()));
    assert_eq!(worker["pid"].as_i64(), Some(i64::from(rig.worker.supervisor.pid)));
    assert!(worker["started_at"].is_string());
    assert_units(&worker);
    assert_says(&worker["consumer_states"].to_string(), &[task.trim(), "sleep"]);

    let status = rows(&rig.cli.run(&["status", task.trim(), "--json"]));
    assert_eq!(status.len(), 1);
    assert_eq!((&status[0]["task"], &status[0]["state"]), (&task.trim().into(), &"running".into()));
    assert_units(&status[0]);
    rig.cli.run(&["cancel", batch_of(&task)]).ok();
    let ended = eventually("the task is cancelled", || {
        let status = rows(&rig.cli.run(&["status", task.trim(), "--json"])).remove(0);
        (status["state"] == "cancelled").then_some(status)
    });
    assert_eq!((&ended["kernel"], &ended["attempt"]), (&"sleep".into(), &1.into()));
    let batch = &rows(&rig.cli.run(&["status", batch_of(&task), "--json"]))[0];
    assert_eq!((&batch["state"], &batch["cancelled"], &batch["total"]), (&"finished".into(), &1.into(), &1.into()));
    assert!(batch["created_at"].is_string() && batch["finished_at"].is_string(), "{batch}");
    assert_units(batch);
}
