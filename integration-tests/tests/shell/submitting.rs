//! When a task starts, how often it is tried, and how long its result stays: each option by its effect.

use std::time::{Duration, SystemTime};

use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};
use gristmill_shared::events;
use serde_json::Value;

use crate::rig::{Rig, assert_says, batch_of, command, end, error, json_lines, quiet, rows};

fn queue(cli: &Cli) -> Value {
    rows(&cli.run(&["queues", "--json"])).remove(0)
}

/// RFC 3339 in UTC.
fn at(time: SystemTime) -> String {
    let ms = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    jiff::Timestamp::from_millisecond(ms as i64).unwrap().to_string()
}

#[test]
fn a_delayed_task_is_scheduled_and_then_runs() {
    let rig = Rig::start();
    for option in ["--delay", "--at"] {
        let soon = at(SystemTime::now() + Duration::from_secs(2));
        let option = [option, if option == "--at" { &soon } else { "2s" }];
        let id = quiet(rig.cli.run(&[&["submit", "square", "7"], &option[..]].concat()));
        let before = queue(&rig.cli);
        assert_eq!((&before["scheduled_tasks"], &before["ready_tasks"]), (&1.into(), &0.into()), "{option:?}");
        assert_eq!(quiet(rig.cli.run(&["results", batch_of(&id), "--wait"])), "49\n");
        assert_eq!(queue(&rig.cli)["scheduled_tasks"], 0);
    }
    // A time in the past is now, and so is one that is here.
    let args = ["submit", "square", "8", "--wait", "--at", "2001-01-01T00:00:00-05:00"];
    assert_eq!(quiet(rig.cli.run(&args)), "64\n");
    let line = error(&rig.cli.run(&["submit", "square", "7", "--at", "2030-01-01T00:00:00"]), 2);
    assert_says(&line, &["--at", "zone", "+01:00"]);
    error(&rig.cli.run(&["submit", "square", "7", "--at", "2030-01-01T00:00:00Z", "--delay", "1s"]), 2);
}

#[test]
fn a_task_that_is_not_started_in_time_expires() {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    let id = cli.run(&["submit", "square", "7", "--expires", "1ms"]).ok();
    let patient = cli.run(&["submit", "square", "7", "--expires", "1h"]).ok();
    let _worker = WorkerOptions::new().start(&redis);
    let output = cli.run(&["results", batch_of(&id), "--wait"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert_says(&output.stdout, &["\"kind\":\"expired\"", "before it was started"]);
    assert_eq!(quiet(cli.run(&["results", batch_of(&patient), "--wait"])), "49\n");
}

#[test]
fn high_goes_before_normal_and_normal_before_low() {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    let mut ids = Vec::new();
    for priority in ["low", "normal", "high", "low", "high", "normal"] {
        ids.push((priority, cli.run(&["submit", "square", "7", "--priority", priority]).ok().trim().to_owned()));
    }
    let worker = WorkerOptions::new().debug().start(&redis);
    let started = eventually("all have started", || {
        let started = worker.log.all(|line| line.event() == events::TASK_STARTED);
        (started.len() == ids.len()).then_some(started)
    });
    let lane_of = |task: &str| ids.iter().find(|(_, id)| id == task).unwrap().0;
    let order: Vec<_> = started.iter().map(|line| lane_of(line.text("task"))).collect();
    assert_eq!(order, ["high", "high", "normal", "normal", "low", "low"]);
    let order: Vec<_> = started.iter().map(|line| line.text("task").to_owned()).collect();
    let sent = |lane| ids.iter().filter(|(its, _)| *its == lane).map(|(_, id)| id.clone()).collect::<Vec<_>>();
    assert_eq!(order, [sent("high"), sent("normal"), sent("low")].concat(), "first in, first out within a lane");
}

#[test]
fn a_failed_task_waits_before_it_is_tried_again() {
    let rig = Rig::with(WorkerOptions::new().test_kernels());
    let args = ["submit", "fail", "[\"no\", 1]", "--retries", "1", "--backoff", "1h", "--backoff-max", "1ms", "--wait"];
    assert_eq!(quiet(rig.cli.run(&args)), "2\n", "the second attempt succeeds, after a millisecond");
    let args = ["submit", "fail", "[\"no\", 1]", "--retries", "1", "--backoff", "3d", "--backoff-max", "3d"];
    // By lot, of three days.
    quiet(rig.cli.run(&args));
    eventually("the retry is scheduled", || (queue(&rig.cli)["scheduled_tasks"] == 1).then_some(()));
    let output = rig.cli.run(&["submit", "fail", "[\"no\", 1]", "--wait"]);
    assert_says(&error(&output, 1), &["failed", "no"]);
}

#[test]
fn results_stay_as_long_as_is_asked() {
    let mut rig = Rig::start();
    for (option, most) in [(&["--result-ttl", "90s"][..], 90_000), (&[], 86_400_000)] {
        let args = [&["submit", "square", "7", "--wait"], option].concat();
        quiet(rig.cli.run(&args));
        let batch = rig.redis.matching("{gm}:batch:*").pop().expect("the newest is the last");
        let ttl: i64 = rig.redis.command(&format!("PTTL {batch}"));
        assert!((most - 60_000..=most).contains(&ttl), "{option:?}: {ttl}");
    }
}

#[test]
fn limits_reach_the_worker() {
    let rig = Rig::with(WorkerOptions::new().test_kernels());
    let output = rig.cli.run(&["submit", "square", "7", "--wait", "--memory", "900TiB"]);
    assert_says(&error(&output, 1), &["ran out of memory", "900TiB"]);
    assert_eq!(quiet(rig.cli.run(&["submit", "square", "7", "--wait", "--memory", "256MiB"])), "49\n");
    let trace = tempfile::NamedTempFile::new().unwrap();
    let args = format!("[\"soft\", {:?}]", trace.path());
    let soft = ["submit", "overrun", &args, "--soft-time-limit", "50ms", "--time-limit", "5m", "--wait"];
    assert_eq!(quiet(rig.cli.run(&soft)), "null\n", "it returns when it is asked to");
    let args = format!("[\"time\", {:?}]", trace.path());
    let output = rig.cli.run(&["submit", "overrun", &args, "--time-limit", "100ms", "--wait"]);
    assert_says(&error(&output, 1), &["timed out"]);
    let output = rig.cli.run(&["submit", "square", "7", "--soft-time-limit", "2s", "--time-limit", "1s"]);
    assert_says(&error(&output, 2), &["--soft-time-limit", "--time-limit"]);
    for (option, value, says) in [
        ("--memory", "much", "512MiB"),
        ("--memory", "0", "512MiB"),
        ("--delay", "later", "1m30s"),
        ("--chunk", "0", "1..=4096"),
    ] {
        let kernel = if option == "--chunk" { ["map", "square"] } else { ["submit", "square"] };
        assert_says(&error(&rig.cli.run(&[kernel[0], kernel[1], option, value]), 2), &[option, says]);
    }
}

#[test]
fn a_map_has_messages_of_the_size_that_was_chosen() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    let input: String = (0..1_000).map(|n| format!("{n}\n")).collect();
    let map = cli.run_with(&["map", "square", "--chunk", "300", "--timeout", "1s"], &input);
    assert_says(&error(&map, 4), &["what was submitted goes on"]);
    let counts: Vec<_> = redis.headers("{gm}:ready:default").iter().map(|header| header.count).collect();
    // Lines that come slowly are not held back until a message is full.
    assert!(counts.len() < 50 && counts.iter().all(|count| *count <= 300), "{counts:?}");
    assert_eq!((counts.iter().max(), counts.iter().sum::<u32>()), (Some(&300), 1_000), "{counts:?}");
}

#[test]
fn a_summary_tells_what_came_of_it() {
    let rig = Rig::with(WorkerOptions::new().consumers(2).test_kernels());
    let output = rig.cli.run_with(&["map", "sleep", "--summary=json", "--no-check"], "0.2\n0.2\n0.2\n0.2\n\"x\"\n");
    assert_eq!((output.code, output.stdout.lines().count()), (1, 5), "{}", output.stderr);
    let summary = json_lines(output.stderr.lines().next().unwrap()).remove(0);
    assert_eq!((&summary["tasks"], &summary["succeeded"], &summary["failed"]), (&5.into(), &4.into(), &1.into()));
    let number = |name: &str| summary[name].as_f64().unwrap_or_else(|| panic!("{name}: {summary}"));
    assert!((190.0..400.0).contains(&number("task_p50_ms")), "{summary}");
    assert!(number("task_p99_ms") >= number("task_p50_ms"), "{summary}");
    assert!((780.0..1_600.0).contains(&number("serial_ms")), "{summary}");
    let expected = number("serial_ms") / number("wall_ms");
    assert!((number("speed_up") - expected).abs() < 0.05 && number("tasks_per_second") > 0.0, "{summary}");

    let output = rig.cli.run_with(&["map", "square", "--summary", "--unordered"], "1\n2\n3\n");
    assert_eq!((output.code, output.stderr.lines().count()), (0, 1), "{}", output.stderr);
    assert_says(&output.stderr, &["3 tasks in ", "/s: 3 succeeded", "(median)", "(p99)", "speed-up "]);
    let output = rig.cli.run_with(&["map", "square", "--summary"], "");
    assert_says(&output.stderr, &["0 tasks", "nothing to do"]);
}

#[test]
fn a_submission_waits_for_room_if_it_is_told_to() {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    cli.run(&["submit", "square", "7"]).ok();
    cli.run(&["queue", "limit", "default", "1"]).ok();
    let line = error(&cli.run(&["submit", "square", "8", "--when-full", "fail"]), 6);
    assert_says(&line, &["\"default\" is full", "1 messages wait", "1 are allowed", "--when-full wait", "queue limit"]);
    let brief = ["submit", "square", "8", "--when-full", "wait", "--wait", "--timeout", "300ms"];
    assert_eq!(cli.run(&brief).code, 6, "there was no room in time, and nothing is submitted");
    let for_room_alone = ["submit", "square", "8", "--when-full", "wait", "--timeout", "300ms"];
    assert_eq!(cli.run(&for_room_alone).code, 6, "it is not waited for the result");
    let args = ["submit", "square", "8", "--when-full", "wait", "--wait"];
    let waiting = command(&redis, &args).spawn().unwrap();
    let output = cli.run_with(&["map", "square", "--when-full", "fail"], "1\n2\n");
    assert_says(&error(&output, 6), &["\"default\" is full"]);
    let worker = WorkerOptions::new().start(&redis);
    let (code, said) = end(waiting);
    assert_eq!(code, Some(0), "{said}");
    let said = said.lines().filter(|line| !line.contains("no worker has offered")).collect::<Vec<_>>();
    assert!(said.len() == 1 && said[0].contains("waiting for room"), "{said:?}");
    drop(worker);
    let endless = ["submit", "square", "8", "--when-full", "fail", "--timeout", "300ms"];
    assert_says(&error(&cli.run(&endless), 2), &["--timeout", "--wait", "--when-full wait"]);
}
