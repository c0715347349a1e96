//! `gristmill dead`: what is listed, shown, retried and dropped, and what is refused.

use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};
use gristmill_shared::dead_letter::Epitaph;
use gristmill_shared::defaults::DEAD_LETTERS_MAX;
use gristmill_shared::{Failure, OutcomeKind, QueueName, codec};
use redis::Commands;
use serde_json::Value;

use crate::rig::{Rig, assert_for_people, assert_says, batch_of, error, quiet, rows};

fn rig() -> Rig {
    Rig::with(WorkerOptions::new().test_kernels())
}

/// Submits a task that will not succeed, and waits until it is buried.
fn bury(rig: &Rig, args: &[&str]) -> String {
    let task = rig.cli.run(&[&["submit"], args].concat()).ok().trim().to_owned();
    eventually("it is buried", || (rig.cli.run(&["dead", "show", &task]).code == 0).then_some(()));
    task
}

fn ids(rig: &Rig, args: &[&str]) -> Vec<String> {
    let rows = rows(&rig.cli.run(&[&["dead", "list", "--json"], args].concat()));
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

fn shown(rig: &Rig, id: &str) -> Value {
    rows(&rig.cli.run(&["dead", "show", id, "--json"])).remove(0)
}

#[test]
fn filters_choose_what_is_listed_retried_and_dropped() {
    let rig = rig();
    let crashed = bury(&rig, &["crash", "\"abort\"", "--queue", "default"]);
    let failed = bury(&rig, &["fail", "[\"bad luck\", 99]"]);
    let latest = bury(&rig, &["fail", "[\"again\", 99]"]);
    assert_eq!(ids(&rig, &[]), [latest.as_str(), &failed, &crashed], "the latest first");
    assert_eq!(ids(&rig, &["--limit", "1"]), [latest.as_str()]);
    assert_eq!(ids(&rig, &["default", "--kernel", "fail"]), [latest.as_str(), &failed]);
    assert_eq!(ids(&rig, &["--reason", "crashed"]), [crashed.as_str()]);
    assert_eq!(ids(&rig, &["--batch", batch_of(&failed)]), [failed.as_str()]);
    assert_eq!(ids(&rig, &["--older-than", "1h"]), [""; 0]);
    assert_eq!(ids(&rig, &["--newer-than", "1h", "--older-than", "0s"]).len(), 3);
    let table = quiet(rig.cli.run(&["dead", "list"]));
    assert_says(&table, &["ID", "REASON", &crashed, "killed by SIGABRT", "bad luck"]);
    assert_says(&rig.cli.run(&["dead", "list", "--limit", "2"]).stderr, &["the latest 2", "--limit"]);

    let asked = error(&rig.cli.run(&["dead", "retry", "--kernel", "fail"]), 2);
    assert_says(&asked, &["Retry 2 dead letters?", "--yes"]);
    assert_says(&error(&rig.cli.run(&["dead", "purge"]), 2), &["--all"]);
    assert_says(&error(&rig.cli.run(&["dead", "retry", batch_of(&failed)]), 2), &["--batch"]);
    assert_says(&error(&rig.cli.run(&["dead", "retry", &failed, "--all"]), 2), &["not both"]);
    assert_says(&error(&rig.cli.run(&["dead", "retry", "nosuch", "--yes"]), 5), &["nosuch", "known: default"]);
    assert_eq!(ids(&rig, &[]).len(), 3, "nothing was done so far");

    let output = rig.cli.run(&["dead", "purge", "default", "--kernel", "fail", "--limit", "1", "--yes"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, "gristmill: dropped 1 dead letter\n"));
    assert_eq!(ids(&rig, &[]), [latest.as_str(), &crashed], "the oldest that fits");
    let output = rig.cli.run(&["dead", "retry", "--all", "--yes"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, "gristmill: retried 2 dead letters\n"));
    eventually("both are dead again", || (ids(&rig, &[]).len() == 2).then_some(()));
    quiet(rig.cli.run(&["dead", "list", "--json"]));
    assert_eq!(rig.cli.run(&["dead", "purge", "--all", "--yes"]).code, 0);
    assert_eq!(rows(&rig.cli.run(&["queues", "--json"]))[0]["dead_tasks"], 0);
    let output = rig.cli.run(&["dead", "retry", "--all"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, "gristmill: no dead letter fits\n"));
}

#[test]
fn a_letter_tells_everything() {
    let rig = rig();
    let crashed = bury(&rig, &["crash", "\"segfault\"", "--priority", "high"]);
    let letter = shown(&rig, &crashed);
    for (field, expected) in [
        ("kernel", Value::from("crash")),
        ("reason", "crashed".into()),
        ("queue", "default".into()),
        ("lane", "high".into()),
        ("args", "segfault".into()),
        ("attempt", 1.into()),
        ("crashes", 3.into()),
        ("losses", 0.into()),
        ("can_be_retried", true.into()),
    ] {
        assert_eq!(letter[field], expected, "{field}");
    }
    let certificate = &letter["certificate"];
    assert_eq!([&certificate["cause"], &certificate["signal_name"]], ["crash", "SIGSEGV"]);
    assert!(certificate["peak_rss_bytes"].is_u64() && certificate["run_ms"].is_u64(), "{certificate}");
    assert!(certificate["host"].is_string() && certificate["consumer"].is_string(), "{certificate}");
    let text = quiet(rig.cli.run(&["dead", "show", &crashed]));
    assert_says(&text, &["crash: its process died by itself", "SIGSEGV", "peak_rss_bytes", "MiB", "\"segfault\""]);
    assert_says(&quiet(rig.cli.run(&["status", &crashed])), &["crash: its process died by itself", "buried_at"]);

    let late = bury(&rig, &["spin", "60000", "--time-limit", "200ms"]);
    let certificate = &shown(&rig, &late)["certificate"];
    assert_eq!(certificate["cause"], "time_limit");
    assert!(certificate["run_ms"].as_u64().is_some_and(|ms| ms >= 200), "{certificate}");
    assert!(certificate["consumer"].is_string() && certificate["peak_rss_bytes"].is_u64(), "{certificate}");
    assert_says(&quiet(rig.cli.run(&["status", &late])), &["time limit: it ran longer than it may"]);
    let failed = bury(&rig, &["fail", "[\"no\", 9]"]);
    assert_eq!(shown(&rig, &failed)["certificate"], Value::Null, "no process died");
}

#[test]
fn without_its_argument_a_task_cannot_run_again() {
    let mut rig = rig();
    let args = format!("[\"{}\", 99]", "x".repeat(100_000));
    let task = rig.cli.run_with(&["submit", "fail", "-"], &args).ok().trim().to_owned();
    eventually("it is buried", || (rig.cli.run(&["dead", "show", &task]).code == 0).then_some(()));
    assert_eq!(shown(&rig, &task)["args_blob"]["there"], true);
    let blobs = rig.redis.matching("{gm}:blob:*");
    assert!(!blobs.is_empty());
    blobs.iter().for_each(|key| rig.redis.command::<()>(&format!("DEL {key}")));
    let letter = shown(&rig, &task);
    assert_eq!([&letter["args_blob"]["there"], &letter["can_be_retried"]], [false, false]);
    assert_says(&error(&rig.cli.run(&["dead", "retry", &task]), 5), &["argument", "gone", &task, "submit it anew"]);
    assert_eq!(ids(&rig, &[]), [task.as_str()], "it is still there");
    let good = bury(&rig, &["fail", "[\"no\", 9]"]);
    let output = rig.cli.run(&["dead", "retry", "--all", "--yes"]);
    assert_eq!(output.code, 5, "{}", output.stderr);
    assert_says(&output.stderr, &["retried 1 dead letter", "argument", &task]);
    eventually("it has failed again", || ids(&rig, &[]).contains(&good).then_some(()));
}

#[test]
fn what_cannot_be_read_can_be_seen_and_dropped() {
    let rig = rig();
    rig.redis.connect().rpush::<_, _, ()>("{gm}:ready:default", b"\x00rubbish".as_slice()).unwrap();
    let task = rig.cli.run(&["submit", "square", "3", "--wait"]);
    assert_eq!(quiet(task), "9\n");
    let found = eventually("it is buried", || ids(&rig, &["--reason", "unreadable"]).pop());
    let letter = shown(&rig, &found);
    assert_eq!([&letter["reason"], &letter["hex"]], ["unreadable", "0072756262697368"]);
    assert_eq!((&letter["size_bytes"], &letter["can_be_retried"]), (&8.into(), &false.into()));
    assert_says(&quiet(rig.cli.run(&["dead", "list"])), &["unreadable", &found]);
    assert_says(&error(&rig.cli.run(&["dead", "retry", &found]), 2), &["cannot be read", "purged"]);
    let output = rig.cli.run(&["dead", "purge", &found]);
    assert_eq!((output.code, output.stderr.as_str()), (0, "gristmill: dropped 1 dead letter\n"));
    assert_says(&error(&rig.cli.run(&["dead", "show", &found]), 5), &["no dead letter", &found]);
}

#[test]
fn letters_above_the_caps_go_by_themselves() {
    const OVER: u64 = 40;
    const OLD: u64 = 30;
    let redis = Redis::start();
    let (queue, keys) = (QueueName::new("default").unwrap(), redis.keys());
    let epitaph = codec::encode(&Epitaph::new(OutcomeKind::Failed, "square", &Failure::new("no", 1))).unwrap();
    let mut connection = redis.connect();
    let now: (u64, u64) = redis::cmd("TIME").query(&mut connection).unwrap();
    let mut pipe = redis::pipe();
    let letters = DEAD_LETTERS_MAX + OVER;
    for n in 0..letters {
        let at_ms = if n < OVER + OLD { n } else { now.0 * 1_000 };
        let record = [&at_ms.to_be_bytes(), &(epitaph.len() as u32).to_be_bytes()[..], &epitaph].concat();
        let id = format!("unreadable.{n:040x}");
        pipe.zadd(keys.dead(&queue), &id, at_ms).ignore();
        pipe.hset(keys.dead_records(&queue), &id, record).ignore();
    }
    pipe.hset(keys.queue(&queue), "dead_tasks", letters).ignore();
    pipe.sadd(keys.queues(), "default").ignore();
    pipe.query::<()>(&mut connection).unwrap();

    let _worker = WorkerOptions::new().start(&redis);
    let cli = Cli::new(&redis);
    eventually("the caps hold", || {
        let queue = rows(&cli.run(&["queues", "--json"])).remove(0);
        (queue["dead_tasks"] == DEAD_LETTERS_MAX - OLD).then_some(())
    });
    let listed = rows(&cli.run(&["dead", "list", "--limit", "20000", "--json"]));
    assert_eq!(listed.len() as u64, DEAD_LETTERS_MAX - OLD);
    let output = cli.run(&["dead", "purge", "--all", "--yes"]);
    assert_for_people(&output.stderr);
    assert_says(&output.stderr, &[&format!("dropped {} dead letters", DEAD_LETTERS_MAX - OLD)]);
}
