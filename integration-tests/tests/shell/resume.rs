//! A map that was interrupted goes on: each line comes once, in order, and nothing that has ended runs again.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use gristmill_integration_tests::{Cli, Output, Redis, Running, WorkerOptions, WorkerProcess, binaries, eventually};
use nix::sys::signal::Signal;
use rand::RngExt;
use serde_json::Value;

use crate::rig::{assert_for_people, assert_says, error, json_lines};

/// A worker that notes what it runs, and files for a map.
struct Scene {
    _worker: WorkerProcess,
    redis: Redis,
    cli: Cli,
    dir: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let (redis, dir) = (Redis::start(), tempfile::tempdir().unwrap());
        let visits = dir.path().join("visits").into_os_string().into_string().unwrap();
        let worker = WorkerOptions::new().program(binaries::find("odd-worker")).consumers(2).variable("VISITS", visits);
        let worker = worker.start(&redis);
        let cli = Cli::new(&redis);
        eventually("the kernel is known", || cli.run(&["kernels", "--json"]).stdout.contains("noted").then_some(()));
        Self { _worker: worker, redis, cli, dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).into_os_string().into_string().unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Lines of `[number, wait]`.
    fn write_input(&self, items: u64, wait_us: u64) {
        let lines: String = (0..items).map(|number| format!("[{number}, {wait_us}]\n")).collect();
        fs::write(self.path("in"), lines).unwrap();
    }

    fn map_args(&self, more: &[&str]) -> Vec<String> {
        let (input, output) = (self.path("in"), self.path("out"));
        let fixed = ["map", "noted", "--input", &input, "--output", &output];
        fixed.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
    }

    fn spawn(&self, more: &[&str]) -> Running {
        let args = self.map_args(more);
        self.cli.spawn(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn map(&self, more: &[&str]) -> Output {
        self.spawn(more).wait()
    }

    fn lines(&self) -> usize {
        self.read("out").lines().count()
    }

    /// Starts the map and sends this signal once the output has so many lines more.
    fn interrupt(&self, more: &[&str], after: usize, signal: Signal) -> Output {
        let before = self.lines();
        let map = self.spawn(more);
        eventually("lines", || (self.lines() >= before + after).then_some(()));
        map.signal(signal);
        let output = map.wait();
        assert!(self.sidecar().exists(), "{}", output.stderr);
        output
    }

    fn sidecar(&self) -> PathBuf {
        self.dir.path().join("out.gristmill")
    }

    /// How often each number ran.
    fn runs(&self) -> BTreeMap<u64, usize> {
        let mut runs = BTreeMap::new();
        for line in self.read("visits").lines() {
            *runs.entry(line.parse().unwrap()).or_default() += 1;
        }
        runs
    }

    fn assert_each_ran_once(&self, items: u64) {
        let runs = self.runs();
        let more: Vec<_> = runs.iter().filter(|(_, times)| **times != 1).collect();
        assert!(more.is_empty() && runs.len() as u64 == items, "{} ran; more than once: {more:?}", runs.len());
    }

    /// Lines of failed tasks without what says in which batch they failed.
    fn values(&self) -> Vec<Value> {
        let plain = |line: Value| match line["$error"]["kind"].as_str() {
            Some(kind) => kind.into(),
            None => line,
        };
        json_lines(&self.read("out")).into_iter().map(plain).collect()
    }
}

fn expected(number: u64) -> Value {
    if number % 14 == 7 { "failed".into() } else { (number * number).into() }
}

#[test]
fn killed_twice_and_interrupted_once_each_line_comes_once_in_order_and_nothing_runs_twice() {
    const ITEMS: u64 = 2_400;
    let scene = Scene::start();
    scene.write_input(ITEMS, 2_000);
    let mut random = rand::rng();
    for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGKILL] {
        let after = random.random_range(1..300);
        println!("{signal} after {after} lines");
        let output = scene.interrupt(&["--resume"], after, signal);
        assert_eq!(output.code, 128 + signal as i32, "{}", output.stderr);
        if signal == Signal::SIGINT {
            assert_for_people(&output.stderr);
            assert_says(&output.stderr, &["interrupted after", "--resume"]);
        }
    }
    let output = scene.map(&["--resume"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert_says(&output.stderr, &["did not succeed", "line 8: failed: unlucky"]);
    assert_eq!(scene.values(), Vec::from_iter((0..ITEMS).map(expected)));
    scene.assert_each_ran_once(ITEMS);
    assert_eq!(fs::read_dir(scene.dir.path()).unwrap().count(), 4, "input, output, what says of what, visits");

    let again = scene.map(&["--resume"]);
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert_says(&again.stderr, &["complete: 2400 lines", "failed: unlucky"]);
    scene.assert_each_ran_once(ITEMS);
}

#[test]
fn in_any_order_each_record_comes_once() {
    const ITEMS: u64 = 1_200;
    let scene = Scene::start();
    scene.write_input(ITEMS, 2_000);
    scene.interrupt(&["--unordered"], 100, Signal::SIGKILL);
    scene.interrupt(&["--unordered", "--resume"], 100, Signal::SIGTERM);
    // What was being written when the power went.
    let torn = scene.read("out") + "{\"index\":5";
    fs::write(scene.path("out"), torn).unwrap();
    let output = scene.map(&["--unordered", "--resume"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    let mut records = json_lines(&scene.read("out"));
    records.sort_by_key(|record| record["index"].as_u64());
    assert_eq!(records.len() as u64, ITEMS);
    for (number, record) in (0..ITEMS).zip(records) {
        assert_eq!(record["index"], number);
        let value = record.get("value").or(record["error"].get("kind"));
        assert_eq!(value, Some(&expected(number)), "{record}");
    }
    scene.assert_each_ran_once(ITEMS);
}

#[test]
fn a_redis_that_came_back_empty_costs_only_what_was_not_written() {
    const ITEMS: u64 = 600;
    let mut scene = Scene::start();
    scene.write_input(ITEMS, 3_000);
    scene.interrupt(&[], 100, Signal::SIGKILL);
    let written = scene.lines();
    eventually("all that was enqueued has run", || {
        let busy = scene.redis.depth() > 0 || !scene.redis.matching("{gm}:inflight:*").is_empty();
        (!busy).then_some(())
    });
    for key in scene.redis.matching("{gm}:batch*").into_iter().chain(scene.redis.matching("{gm}:results:*")) {
        let _: u64 = scene.redis.command(&format!("DEL {key}"));
    }
    assert_eq!(scene.map(&["--resume"]).code, 1);
    assert_eq!(scene.values(), Vec::from_iter((0..ITEMS).map(expected)));
    let runs = scene.runs();
    assert_eq!(runs.len() as u64, ITEMS);
    assert!((0..written as u64).all(|number| runs[&number] == 1), "what was written ran again");
}

#[test]
fn bad_lines_keep_their_place_and_a_timeout_is_an_interruption() {
    let scene = Scene::start();
    let line = |number: u64| match number % 10 {
        3 => "no\n".to_owned(),
        _ => format!("[{number}, 5000]\n"),
    };
    fs::write(scene.path("in"), (0..400).map(line).collect::<String>()).unwrap();
    let said = error(&scene.map(&["--keep-going", "--timeout", "0.2s"]), 4);
    assert_says(&said, &["time is over", "--resume"]);
    scene.interrupt(&["--keep-going", "--resume"], 20, Signal::SIGKILL);
    assert_eq!(scene.map(&["--keep-going", "--resume"]).code, 1);
    let expected = |number| if number % 10 == 3 { "bad_input".into() } else { expected(number) };
    assert_eq!(scene.values(), Vec::from_iter((0..400).map(expected)));
    scene.assert_each_ran_once(360);
}

#[test]
fn too_many_failures_are_an_interruption_and_failed_rows_are_gathered_again() {
    const ITEMS: u64 = 300;
    let scene = Scene::start();
    let line = |number: u64| match number % 50 {
        49 => "no\n".to_owned(),
        _ => format!("[{number}, 5000]\n"),
    };
    fs::write(scene.path("in"), (0..ITEMS).map(line).collect::<String>()).unwrap();
    let failed = scene.path("failed");
    let output = scene.map(&["--keep-going", "--failed", &failed, "--max-failures", "3"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert_says(&output.stderr, &["3 failures", "--max-failures", "the same command with --resume goes on"]);
    assert!(scene.lines() < ITEMS as usize, "what was cancelled has no line, for it may run yet");
    let again = scene.map(&["--keep-going", "--failed", &failed, "--max-failures", "3", "--resume"]);
    assert_says(&again.stderr, &["3 failures"]);
    scene.interrupt(&["--keep-going", "--failed", &failed, "--resume"], 30, Signal::SIGKILL);
    let output = scene.map(&["--keep-going", "--failed", &failed, "--resume"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    let is_bad = |number: u64| number % 50 == 49;
    let expected = |number| if is_bad(number) { "bad_input".into() } else { expected(number) };
    assert_eq!(scene.values(), Vec::from_iter((0..ITEMS).map(expected)));
    let mut rows: Vec<String> = scene.read("failed").lines().map(str::to_owned).collect();
    let mut wanted: Vec<String> =
        (0..ITEMS).filter(|&n| is_bad(n) || n % 14 == 7).map(|n| line(n).trim().to_owned()).collect();
    rows.sort();
    wanted.sort();
    assert_eq!(rows, wanted);
    scene.assert_each_ran_once((0..ITEMS).filter(|&n| !is_bad(n)).count() as u64);
}

#[test]
fn stdin_goes_on_if_it_is_the_same() {
    let scene = Scene::start();
    let text = |items: u64| (0..items).map(|number| format!("[{number}, 1000]\n")).collect::<String>();
    let out = scene.path("out");
    let args = ["map", "noted", "--output", &out, "--records"];
    let resume = ["map", "noted", "--output", &out, "--records", "--resume"];
    let mut map = scene.cli.spawn(&args);
    map.write(&text(300));
    eventually("lines", || (scene.lines() >= 50).then_some(()));
    // The second would write what the first writes.
    assert_says(&error(&scene.cli.run_with(&resume, &text(300)), 2), &["another map writes"]);
    map.signal(Signal::SIGKILL);
    map.wait();
    let said = error(&scene.cli.run_with(&args, &text(300)), 2);
    assert_says(&said, &["interrupted", "--resume", "--restart"]);
    let said = error(&scene.cli.run_with(&["map", "noted", "--output", &out, "--resume"], &text(300)), 2);
    assert_says(&said, &["begun with --records"]);
    let said =
        error(&scene.cli.run_with(&["map", "sleep", "--output", &out, "--records", "--resume", "--force"], ""), 2);
    assert_says(&said, &["begun with the kernel noted"]);
    let said = error(&scene.cli.run_with(&resume, "[1, 0]\n"), 2);
    assert_says(&said, &["another input", "--restart"]);
    assert_eq!(scene.cli.run_with(&resume, &text(300)).code, 1);
    let indices: Vec<_> =
        json_lines(&scene.read("out")).iter().map(|record| record["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, Vec::from_iter(0..300));
    scene.assert_each_ran_once(300);
}

#[test]
fn restart_begins_anew() {
    let scene = Scene::start();
    scene.write_input(200, 10_000);
    scene.interrupt(&[], 10, Signal::SIGKILL);
    scene.write_input(20, 0);
    assert_says(&error(&scene.map(&["--resume"]), 2), &["another input", "length"]);
    let output = scene.map(&["--restart"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert_eq!(scene.values(), Vec::from_iter((0..20).map(expected)));
    assert!(!scene.sidecar().exists(), "nobody said that he would ask again");
    scene.write_input(21, 0);
    fs::write(scene.sidecar(), "rubbish").unwrap();
    assert_says(&error(&scene.map(&["--resume"]), 2), &["cannot read", "--restart"]);
    assert_eq!(scene.map(&["--restart"]).code, 1);
    assert_eq!(scene.lines(), 21);
    let said = error(&scene.cli.run_with(&["map", "noted", "--resume"], ""), 2);
    assert_says(&said, &["--output"]);
}

#[test]
fn a_refusal_changes_nothing_of_any_file() {
    let scene = Scene::start();
    scene.write_input(5, 0);
    let texts = [("out", "a\nno end of a line"), ("failed", "of another map\n")];
    texts.iter().for_each(|(name, text)| fs::write(scene.path(name), text).unwrap());
    let failed = scene.path("failed");
    let said = error(&scene.map(&["--resume", "--failed", &failed]), 2);
    assert_says(&said, &["nothing is known of", "out.gristmill", "--restart"]);
    texts.iter().for_each(|(name, text)| assert_eq!(scene.read(name), *text));
    assert!(!scene.sidecar().exists() && scene.runs().is_empty());
}

#[test]
fn a_complete_map_is_known_and_no_other_is_taken_for_it() {
    let scene = Scene::start();
    scene.write_input(30, 0);
    let failed = scene.path("failed");
    let resume = ["--resume", "--failed", &failed];
    assert_eq!(scene.map(&resume).code, 1);
    let (lines, rows) = (scene.read("out"), "[7, 0]\n[21, 0]\n");
    assert_eq!(scene.read("failed"), rows);
    fs::write(&failed, "").unwrap();
    let again = scene.map(&resume);
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert_says(&again.stderr, &["complete: 30 lines", "2 of 30 lines did not succeed; the first: line 8"]);
    assert_eq!(scene.read("failed"), rows, "they are written once more");

    let (input, out) = (scene.path("in"), scene.path("out"));
    let other = ["map", "sleep", "--force", "--input", &input, "--output", &out, "--resume"];
    assert_says(&error(&scene.cli.run(&other), 2), &["begun with the kernel noted"]);
    assert_says(&error(&scene.map(&["--resume", "--records"]), 2), &["begun without --records"]);
    let text = scene.read("in");
    fs::write(&input, text.replace("[29,", "[31,")).unwrap();
    assert_says(&error(&scene.map(&resume), 2), &["another input"]);
    assert_eq!((scene.read("out"), scene.read("failed").as_str()), (lines, rows), "a refusal changes nothing");
    scene.assert_each_ran_once(30);

    // Who does not ask for what was there gets a new one, and nothing is said of it to another.
    assert_eq!(scene.map(&[]).code, 1);
    assert!(scene.read("out").ends_with("961\n") && !scene.sidecar().exists());
    assert_eq!(scene.map(&["--restart"]).code, 1);
    assert_says(&error(&scene.map(&["--resume"]), 2), &["nothing is known of"]);
    fs::remove_file(&out).unwrap();
    assert_eq!(scene.map(&["--resume"]).code, 1);
    fs::write(&out, scene.read("out") + "1\n").unwrap();
    assert_says(&error(&scene.map(&["--resume"]), 2), &["was changed since its map was complete"]);
}

#[test]
fn what_can_never_start_is_not_waited_for_and_what_runs_is() {
    let mut scene = Scene::start();
    scene.write_input(4, 3_000_000);
    let nobody = scene.spawn(&["--resume", "--queue", "nobody"]);
    eventually("messages", || (!scene.redis.matching("{gm}:ready:nobody").is_empty()).then_some(()));
    nobody.signal(Signal::SIGKILL);
    nobody.wait();
    let served = scene.spawn(&["--resume", "--chunk", "1"]);
    eventually("two tasks run", || (scene.runs().len() == 2).then_some(()));
    served.signal(Signal::SIGKILL);
    assert_says(&served.wait().stderr, &["4 tasks of the batch", "stood in the queue nobody"]);
    let output = scene.map(&["--resume", "--chunk", "1"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(scene.values(), Vec::from_iter((0..4).map(expected)));
    scene.assert_each_ran_once(4);
}

#[test]
fn failures_of_an_earlier_run_do_not_end_the_next_one() {
    let scene = Scene::start();
    let numbers = [7, 21, 35].into_iter().chain((0..60).map(|number| 2 * number));
    fs::write(scene.path("in"), numbers.map(|number| format!("[{number}, 20000]\n")).collect::<String>()).unwrap();
    let first = scene.map(&["--max-failures", "3", "--chunk", "1"]);
    assert_says(&first.stderr, &["ended after 3 failures"]);
    assert!(scene.lines() < 63, "{}", scene.lines());
    let output = scene.map(&["--max-failures", "3", "--chunk", "1", "--resume"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert_says(&output.stderr, &["3 of 63 lines did not succeed"]);
    assert_eq!(scene.lines(), 63);
    scene.assert_each_ran_once(63);
}

#[test]
fn an_output_that_cannot_be_written_ends_the_batch() {
    let mut scene = Scene::start();
    scene.write_input(2_000, 5_000);
    let said = error(&scene.cli.run(&["map", "noted", "--input", &scene.path("in"), "--output", "/dev/full"]), 2);
    assert_says(&said, &["cannot write the output", "No space left", "cancelled what had not started of the batch"]);
    eventually("nothing is left", || (scene.redis.depth() == 0).then_some(()));
    assert!(scene.runs().len() < 2_000, "the rest is cancelled");

    // The same of a file that may not grow.
    let program = binaries::find("gristmill").into_os_string().into_string().unwrap();
    let args = scene.map_args(&["--resume"]).join(" ");
    let limited = Command::new("sh")
        .args(["-c", &format!("ulimit -f 4; exec {program} {args}")])
        .env("GRISTMILL_REDIS", scene.redis.url())
        .output()
        .unwrap();
    let said = String::from_utf8(limited.stderr).unwrap();
    assert_eq!(limited.status.code(), Some(2), "{said}");
    assert_says(&said, &["File too large", "cancelled what had not started", "the same command with --resume goes on"]);
    assert_eq!(scene.map(&["--resume"]).code, 1);
    assert_eq!(scene.values(), Vec::from_iter((0..2_000).map(expected)));
}
