//! What an operator does to queues.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};

use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::rig::{Rig, assert_says, batch_of, end, error, json_lines, piped, quiet, rows};

fn queue(cli: &Cli) -> Value {
    rows(&cli.run(&["queues", "--json"])).remove(0)
}

#[test]
fn a_paused_queue_starts_nothing_until_it_is_resumed() {
    let rig = Rig::start();
    quiet(rig.cli.run(&["submit", "square", "6", "--wait"]));
    assert_says(&rig.cli.run(&["queue", "pause", "default"]).stderr, &["default is paused"]);
    let id = quiet(rig.cli.run(&["submit", "square", "7"]));
    let other = ["submit", "square", "7", "--wait", "--timeout", "1s"];
    error(&rig.cli.run(&other), 4);
    let paused = queue(&rig.cli);
    assert_eq!(
        (&paused["paused"], &paused["ready_tasks"], &paused["running_tasks"]),
        (&true.into(), &2.into(), &0.into())
    );
    assert_says(&rig.cli.run(&["queue", "resume", "default"]).stderr, &["default is served"]);
    assert_eq!(quiet(rig.cli.run(&["results", batch_of(&id), "--wait"])), "49\n");
    assert_eq!(queue(&rig.cli)["paused"], false);
}

#[test]
fn a_limit_is_set_and_lifted() {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    cli.run(&["submit", "square", "7"]).ok();
    assert_says(&cli.run(&["queue", "limit", "default", "2"]).stderr, &["default", "at most 2 messages"]);
    assert_eq!(queue(&cli)["depth_limit"], 2);
    cli.run(&["submit", "square", "7"]).ok();
    error(&cli.run(&["submit", "square", "7"]), 6);
    // Another lane has room of its own.
    cli.run(&["submit", "square", "7", "--priority", "high"]).ok();
    cli.run(&["queue", "limit", "default", "none"]).ok();
    assert_eq!(queue(&cli)["depth_limit"], Value::Null);
    cli.run(&["submit", "square", "7"]).ok();
    let line = error(&cli.run(&["queue", "limit", "default", "0"]), 2);
    assert_says(&line, &["refuses every task", "gristmill queue pause", "`none` lifts the limit"]);
    assert_eq!(queue(&cli)["depth_limit"], Value::Null);
    for bad in ["-1", "few", "1.5", ""] {
        error(&cli.run(&["queue", "limit", "default", bad]), 2);
    }
}

#[test]
fn a_misspelt_queue_is_told_and_left_alone() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    assert_says(&error(&cli.run(&["queue", "pause", "default"]), 5), &["none has been used yet", "--force"]);
    cli.run(&["submit", "square", "7"]).ok();
    let commands: [&[&str]; 5] = [
        &["pause", "defualt"],
        &["resume", "defualt"],
        &["limit", "defualt", "1"],
        &["purge", "defualt", "--yes"],
        &["peek", "defualt"],
    ];
    for args in commands {
        assert_says(&error(&cli.run(&[&["queue"], args].concat()), 5), &["\"defualt\"", "known: default"]);
    }
    assert_eq!(redis.command::<Vec<String>>("SMEMBERS {gm}:queues"), ["default"]);
    cli.run(&["queue", "limit", "later", "5", "--force"]).ok();
    assert_eq!(redis.command::<u64>("HGET {gm}:queue:later depth_limit"), 5);
}

#[test]
fn what_waits_is_shown_and_purged() {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    let mut ids = Vec::new();
    for (args, priority) in [("7", "normal"), ("{\"a\":[1,2]}", "low"), ("\"x\"", "high")] {
        ids.push(cli.run(&["submit", "echo", args, "--priority", priority]).ok());
    }
    let input: String = (0..30_000).map(|n| format!("{n}\n")).collect();
    let map = cli.run_with(&["map", "square", "--chunk", "1000", "--timeout", "1s"], &input);
    let said = error(&map, 4);
    let batch = said.split('`').nth(1).unwrap().rsplit(' ').next().unwrap();
    let shown = rows(&cli.run(&["queue", "peek", "default", "--json"]));
    assert_eq!(shown.len(), 10);
    assert_eq!(
        (&shown[0]["lane"], &shown[0]["task"], &shown[0]["args"]),
        (&"high".into(), &ids[2].trim().into(), &"x".into())
    );
    assert_eq!((&shown[1]["kernel"], &shown[1]["args"], &shown[1]["tasks"]), (&"echo".into(), &7.into(), &1.into()));
    assert_eq!(shown[2]["task"], format!("{batch}.0"));
    assert!(shown[2]["tasks"].as_u64().unwrap() > 1, "{}", shown[2]);
    let table = cli.run(&["queue", "peek", "default", "--lane", "low", "-n", "1"]).ok();
    assert_eq!(table.lines().count(), 2);
    assert_says(&table, &["TASK", "KERNEL", "low", "echo", "{\"a\":[1,2]}"]);

    let depth = queue(&cli)["depth_messages"].clone();
    assert_eq!((&depth["high"], &depth["low"]), (&1.into(), &1.into()));
    let waiting = depth["normal"].as_u64().unwrap() + 2;
    let line = error(&cli.run(&["queue", "purge", "default"]), 2);
    assert_says(&line, &[&format!("{waiting} waiting messages"), "default", "--yes"]);
    assert_says(
        &cli.run(&["queue", "purge", "default", "--lane", "high", "--yes"]).stderr,
        &["removed 1 message with 1 task from"],
    );
    assert_says(
        &cli.run(&["queue", "purge", "default", "--yes"]).stderr,
        &[&format!("removed {} messages with 30002 tasks", waiting - 1)],
    );
    assert_says(&cli.run(&["queue", "purge", "default", "--yes"]).stderr, &["nothing waits"]);
    assert_eq!(queue(&cli)["ready_tasks"], 0);
    let output = cli.run(&["results", batch_of(&ids[0])]);
    assert_says(&output.stdout, &["\"kind\":\"cancelled\"", "its queue was purged"]);
    let status = rows(&cli.run(&["status", batch, "--json"])).remove(0);
    assert_eq!((&status["state"], &status["cancelled"]), (&"finished".into(), &30_000.into()));
    assert_eq!(cli.run(&["queue", "peek", "default"]).ok(), "");
}

#[test]
fn large_messages_are_shown_and_purged_in_calls_of_a_mebibyte() {
    const MESSAGES: usize = 60;
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    let text = format!("\"{}\"\n", "x".repeat(50_000));
    let map = cli.run_with(&["map", "echo", "--chunk", "1", "--timeout", "1s"], &text.repeat(MESSAGES));
    error(&map, 4);
    // Whoever sends or is sent more than this at once is disconnected.
    let mut operator = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    for (name, value) in
        [("client-query-buffer-limit", "2097152"), ("client-output-buffer-limit", "normal 2097152 0 0")]
    {
        redis::cmd("CONFIG").arg(&["SET", name, value]).exec(&mut operator).unwrap();
    }
    let shown = rows(&cli.run(&["queue", "peek", "default", "-n", "1000", "--json"]));
    assert_eq!(shown.len(), MESSAGES);
    assert!(shown.iter().all(|row| row["bytes"].as_u64().unwrap() > 50_000), "{}", shown[0]["bytes"]);
    let tasks: HashSet<_> = shown.iter().map(|row| row["task"].as_str().unwrap()).collect();
    assert_eq!(tasks.len(), MESSAGES, "each is shown once");
    assert_says(
        &cli.run(&["queue", "purge", "default", "--yes"]).stderr,
        &[&format!("removed {MESSAGES} messages with {MESSAGES} tasks")],
    );
    assert_eq!(queue(&cli)["ready_tasks"], 0);
}

#[test]
fn watching_tells_rates_until_it_is_interrupted() {
    let rig = Rig::start();
    let input: String = (0..200).map(|_| "0.01\n").collect();
    let map = rig.cli.spawn(&["map", "sleep", "--output", "/dev/null"]);
    let mut map = map;
    map.write(&input);
    let map = std::thread::spawn(move || map.wait());
    let mut watch = piped(&rig.redis, &["queues", "--watch", "--json", "--interval", "100ms"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut seen = || json_lines(&lines.next().unwrap().unwrap()).remove(0);
    let working = loop {
        let row = seen();
        assert!(row["at"].is_string() && row["queue"] == "default", "{row}");
        if row["ended_per_second"].as_f64().is_some_and(|rate| rate > 0.0) {
            break row;
        }
    };
    assert!(working["enqueued_per_second"].is_number(), "{working}");
    assert_eq!(map.join().unwrap().code, 0);
    let empty = loop {
        let row = seen();
        if row["ready_tasks"] == 0 && row["running_tasks"] == 0 {
            break row;
        }
    };
    assert_eq!(empty["empty_in_ms"], 0);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(watch.id() as i32), Signal::SIGINT).unwrap();
    let status = eventually("the watch ends", || watch.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));

    let mut watch = piped(&rig.redis, &["queues", "--watch", "--interval", "50ms"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    // Two tables, with an empty line between them.
    let seen: Vec<_> = lines.by_ref().take(5).map(|line| line.unwrap()).collect();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(watch.id() as i32), Signal::SIGINT).unwrap();
    // It may be in the middle of the next.
    let rest: String = lines.map(|line| line.unwrap()).collect();
    let (code, said) = end(watch);
    assert_eq!((code, said.as_str()), (Some(130), ""));
    for table in [&seen[..2], &seen[3..]] {
        assert_says(&table[0], &["QUEUE", "OUT/S", "EMPTY IN"]);
        assert_says(&table[1], &["default"]);
    }
    assert_eq!(seen[2], "");
    assert!(!(seen.concat() + &rest).contains('\x1b'), "no terminal is there");
}

#[test]
fn the_worker_of_a_limited_queue_makes_room_for_a_whole_map() {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    cli.run(&["queue", "limit", "default", "3", "--force"]).ok();
    let _worker = WorkerOptions::new().start(&redis);
    let input: String = (0..60).map(|n| format!("{n}\n")).collect();
    let output = cli.run_with(&["map", "square", "--chunk", "1"], &input);
    assert_eq!((output.code, output.stdout.lines().count()), (0, 60), "{}", output.stderr);
}
