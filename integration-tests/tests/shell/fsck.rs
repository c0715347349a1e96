//! `gristmill fsck` from the shell; what it finds and repairs is tested with the broker.

use gristmill_integration_tests::{Cli, Redis};
use serde_json::Value;

use crate::rig::{assert_for_people, assert_says, error};

fn rig() -> (Redis, Cli) {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    for queue in ["left", "right"] {
        cli.run(&["submit", "square", "7", "--force", "--queue", queue]).ok();
    }
    (redis, cli)
}

fn counter(redis: &mut Redis, queue: &str) -> i64 {
    redis.command(&format!("HGET {{gm}}:queue:{queue} ready_tasks"))
}

#[test]
fn what_is_right_is_said_in_one_line() {
    let (_redis, cli) = rig();
    let output = cli.run(&["fsck"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{}", output.stderr);
    assert_says(&output.stderr, &["2 queues, 2 batches, 2 tasks that have not ended: nothing is wrong"]);
    assert_eq!(cli.run(&["fsck", "--json"]).ok(), "[]\n");
    // Nothing to do is no reason to ask.
    cli.run(&["fsck", "--repair"]).ok();
}

#[test]
fn what_is_wrong_is_told_repaired_and_then_right() {
    let (mut redis, cli) = rig();
    redis.command::<i64>("HINCRBY {gm}:queue:left ready_tasks 5");
    redis.command::<i64>("SADD {gm}:queues No-Name");
    let output = cli.run(&["fsck"]);
    assert_eq!(output.code, 1);
    assert_for_people(&output.stdout);
    assert_says(&output.stdout, &["WRONG", "queue_counter", "{gm}:queue:left", "ready_tasks", "adds -5", "bad_member"]);
    assert_says(&output.stderr, &["2 wrong; `gristmill fsck --repair` repairs 2"]);
    assert_eq!(output.stdout.lines().count(), 3, "{}", output.stdout);
    let line = error(&cli.run(&["fsck", "--repair"]), 2);
    assert_says(&line, &["Repair 2 faults in the namespace gm?", "--yes"]);
    assert_eq!(counter(&mut redis, "left"), 6, "nobody said yes");
    let output = cli.run(&["fsck", "--repair", "--yes", "--json"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, "2 repaired, 0 left\n"), "{}", output.stdout);
    let rows: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
    let row = rows.iter().find(|row| row["flaw"] == "queue_counter").unwrap();
    assert_eq!((&row["expected"], &row["found"], &row["repaired"]), (&"1".into(), &"6".into(), &true.into()));
    assert_eq!((&row["place"], &row["repair_note"]), (&"ready_tasks".into(), &"yes".into()));
    assert_eq!(counter(&mut redis, "left"), 1);
    let again = cli.run(&["fsck", "--repair", "--yes"]);
    assert_eq!(again.code, 0);
    assert_says(&again.stderr, &["nothing is wrong"]);
    assert!(redis.matching("{gm}:fsck").is_empty());
}

#[test]
fn what_cannot_be_repaired_stays_and_fails() {
    let (mut redis, cli) = rig();
    redis.command::<()>("SET {gm}:mine x");
    let output = cli.run(&["fsck", "--repair", "--yes"]);
    assert_eq!(output.code, 1);
    assert_says(&output.stderr, &["1 wrong, none of it can be repaired safely"]);
    redis.command::<i64>("HINCRBY {gm}:queue:left ready_tasks 5");
    let output = cli.run(&["fsck", "--repair", "--yes"]);
    assert_eq!(output.code, 1);
    assert_says(&output.stderr, &["1 repaired, 1 left"]);
    assert_says(&output.stdout, &["unknown_key", "{gm}:mine", "delete it yourself"]);
    // Another deployment is none of its business.
    assert_eq!(cli.clone().namespace("other").run(&["fsck", "--json"]).ok(), "[]\n");
}

#[test]
fn what_was_not_checked_is_not_counted() {
    let (mut redis, cli) = rig();
    redis.command::<()>("SET {gm}:paused x");
    let output = cli.run(&["fsck"]);
    assert_eq!(output.code, 1);
    assert_says(&output.stderr, &["2 batches: 1 wrong", "were not checked", "delete these first, then check again"]);
    assert!(!output.stderr.contains("not ended"), "{}", output.stderr);
    let rows: Vec<Value> = serde_json::from_str(&cli.run(&["fsck", "--json"]).stdout).unwrap();
    assert_eq!((&rows[0]["flaw"], &rows[0]["repaired"]), (&"wrong_type".into(), &Value::Null));
}

#[test]
fn two_repairs_do_not_run_at_a_time() {
    let (mut redis, cli) = rig();
    redis.command::<i64>("HINCRBY {gm}:queue:left ready_tasks 5");
    redis.command::<()>("SET {gm}:fsck somebody PX 60000");
    let line = error(&cli.run(&["fsck", "--repair", "--yes"]), 1);
    assert_says(&line, &["another repair", "{gm}:fsck"]);
    assert_eq!(counter(&mut redis, "left"), 6);
}
