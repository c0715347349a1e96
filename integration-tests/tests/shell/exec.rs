//! Programs as tasks, from the shell.

use std::fs;
use std::path::Path;
use std::process::Command;

use gristmill_integration_tests::{Output, WorkerOptions, binaries, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::rig::{Rig, assert_for_people, assert_says, error, quiet, rows};

/// A worker whose operator allows shells, and a few more.
fn rig() -> Rig {
    Rig::with(worker(&["sh *", "env", "echo *", "cat", "head -c * /dev/zero"]))
}

fn worker(patterns: &[&str]) -> WorkerOptions {
    WorkerOptions::new().variable("GRISTMILL_ALLOW_EXEC", patterns.join(";"))
}

/// The arguments of `exec`, up to the command, and a script with its own arguments.
fn script<'a>(options: &[&'a str], script: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&["exec"], options, &["--", "sh", "-c", script, "sh"], args].concat()
}

fn text(path: &Path, name: &str) -> String {
    fs::read_to_string(path.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The words of what a command said, one line each.
fn said(output: &Output) -> Vec<&str> {
    assert_for_people(&output.stderr);
    output.stderr.lines().collect()
}

#[test]
fn a_sweep_over_columns_a_grid_and_lines() {
    let rig = rig();
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("jobs.csv");
    fs::write(&csv, "name,seed\n\"a, b\",1\nc d,2\n").unwrap();
    let csv = csv.to_str().unwrap();
    let output = rig.cli.run(&["exec", "--jobs-from", csv, "--", "echo", "{seed}:{name}", "{#}", "{{x}}", "[{}]"]);
    assert_eq!(quiet(output), "1:a, b 1 {x} [a, b 1]\n2:c d 2 {x} [c d 2]\n");
    let output = rig.cli.run(&["exec", "--grid", "lr=0.1,0.01", "--grid", "seed=1..2", "--", "echo", "{lr}", "{seed}"]);
    assert_eq!(quiet(output), "0.1 1\n0.1 2\n0.01 1\n0.01 2\n");
    // Lines go to the end, each as one argument, whatever stands in it.
    let output = rig.cli.run_with(&["exec", "-a", "-", "--", "echo", "it is"], "$HOME; rm *\n'x'  {y}\n");
    assert_eq!(quiet(output), "it is $HOME; rm *\nit is 'x'  {y}\n");
    let jsonl = "{\"seed\": 7, \"name\": \"x\"}\n{\"seed\": 8, \"name\": \"y\"}\n";
    let format = ["exec", "-a", "-", "--input-format", "jsonl", "--tag", "--", "echo", "{name}={seed}"];
    let output = rig.cli.run_with(&format, jsonl);
    assert_eq!(quiet(output), "{\"seed\":7,\"name\":\"x\"}\tx=7\n{\"seed\":8,\"name\":\"y\"}\ty=8\n");
    assert_eq!(quiet(rig.cli.run(&["exec", "--", "echo", "alone"])), "alone\n");
    assert_eq!(quiet(rig.cli.run(&["exec", "--tag", "echo", "--json", "--", "-n"])), "1\t--json -- -n\n");
}

#[test]
fn failures_are_told_counted_and_written_for_another_run() {
    let rig = rig();
    let folder = tempfile::tempdir().unwrap();
    let (jobs, again) = (folder.path().join("jobs.csv"), folder.path().join("again.csv"));
    fs::write(&jobs, "code\n0\n3\n0\n9\n").unwrap();
    let (jobs, again) = (jobs.to_str().unwrap(), again.to_str().unwrap());
    let ending = "echo out $1; echo first >&2; echo code is $1 >&2; [ $1 != 9 ] || kill -SEGV $$; exit $1";
    let output = rig.cli.run(&script(&["-a", jobs, "--failed", again], ending, &["{code}"]));
    assert_eq!((output.code, output.stdout.as_str()), (2, "out 0\nout 3\nout 0\nout 9\n"));
    let lines = said(&output);
    assert!(lines.contains(&"gristmill: job 2: failed: exit status 3: code is 3"), "{lines:?}");
    assert!(lines.contains(&"gristmill: job 4: failed: killed by SIGSEGV: code is 9"), "{lines:?}");
    assert_eq!(lines.last(), Some(&"gristmill: 2 of 4 jobs did not succeed"));
    assert_eq!(fs::read_to_string(again).unwrap(), "code\n3\n9\n");
    let output =
        rig.cli.run(&script(&["--grid", "n=1..200", "--chunk", "1", "--max-failures", "3"], "exit 1", &["{n}"]));
    let last = *said(&output).last().unwrap();
    let failed: i32 = last.split(' ').nth(1).unwrap().parse().unwrap();
    assert!((3..150).contains(&failed), "{last}");
    assert_eq!(output.code, failed.min(101), "{last}");
    assert_says(&output.stderr, &["cancelled before the start"]);
}

#[test]
fn the_exit_code_counts_the_jobs_that_failed() {
    let rig = rig();
    let code = |jobs: &str| rig.cli.run(&script(&["--grid", jobs], "[ $1 = 0 ]", &["{n}"])).code;
    for (jobs, expected) in [("n=0", 0), ("n=0..3", 3), ("n=0..100", 100), ("n=0..101", 101), ("n=0..300", 101)] {
        assert_eq!(code(jobs), expected, "{jobs}");
    }
    // What two jobs that failed end with is not what bad usage ends with, even where some have failed before it.
    let output = rig.cli.run_with(
        &["exec", "-a", "-", "--input-format", "csv", "--", "sh", "-c", "exit 1", "sh", "{a}"],
        "a\n1\n2\n3,4\n",
    );
    assert_eq!(output.code, 122, "{}", output.stderr);
    for (args, expected) in [
        (&["exec", "--no-such-option"][..], 122),
        (&["exec"], 122),
        (&["exec", "--exit-count", "--", "sh"], 122),
        (&["--redis", "redis://127.0.0.1:1", "exec", "--", "sh"], 123),
        (&["exec", "--timeout", "200ms", "--", "sh", "-c", "sleep 2"], 124),
        (&["exec", "--help"], 0),
    ] {
        let output = rig.cli.run(args);
        assert_eq!(output.code, expected, "{args:?}: {}", output.stderr);
    }
}

#[test]
fn what_fails_is_tried_again() {
    let rig = rig();
    let last = "[ $GRISTMILL_ATTEMPT = 2 ] || exit 1";
    let record = quiet(rig.cli.run(&script(&["--retries", "1", "--backoff", "10ms", "--json"], last, &[])));
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!((&record["outcome"], &record["attempt"]), (&"succeeded".into(), &2.into()), "{record}");
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace").display().to_string();
    let third = "echo $GRISTMILL_ATTEMPT >> \"$1\"; [ $GRISTMILL_ATTEMPT = 3 ] && echo well";
    let output = rig.cli.run(&script(&["--retries", "2", "--backoff", "10ms"], third, &[&trace]));
    assert_eq!(quiet(output), "well\n");
    assert_eq!(fs::read_to_string(trace).unwrap(), "1\n2\n3\n");
}

#[test]
fn of_much_output_the_end_is_kept_and_bytes_stay_bytes() {
    let rig = rig();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("out");
    let much = "head -c 10485760 /dev/zero; printf '\\377end'";
    let output = rig.cli.run(&script(&["--results-dir", dir.to_str().unwrap()], much, &[]));
    assert_eq!(output.code, 0, "{}", output.stderr);
    let kept = fs::read(dir.join("000001/stdout")).unwrap();
    assert_eq!((kept.len(), &kept[kept.len() - 5..]), (1 << 20, &b"\0\xffend"[..]));
    let status: Value = serde_json::from_str(&text(&dir, "000001/status.json")).unwrap();
    assert_eq!((&status["stdout_bytes"], &status["exit_code"]), (&10_485_764.into(), &0.into()), "{status}");
    let output = rig.cli.run(&["exec", "--output-max", "1KiB", "--", "head", "-c", "5000", "/dev/zero"]);
    assert_eq!((output.code, output.stdout.len()), (0, 1024));
    assert_eq!(
        said(&output),
        ["gristmill: job 1: the last 1024 of 5000 bytes of stdout are kept; --output-max keeps more"]
    );
    let output = rig.cli.run(&script(&["--json"], "printf '\\377'; echo text >&2; exit 4", &[]));
    let record: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&record["stdout"]["$bytes"], &record["stderr"]), (&"/w==".into(), &"text\n".into()), "{record}");
    assert_eq!((&record["exit_code"], &record["outcome"], &record["job"]), (&4.into(), &"failed".into(), &1.into()));
    let file = folder.path().join("in");
    fs::write(&file, b"\0in\xff").unwrap();
    let output = rig.cli.run(&["exec", "--stdin", file.to_str().unwrap(), "--json", "--", "cat"]);
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap()["stdout"]["$bytes"], "AGlu/w==");
}

#[test]
fn nothing_of_the_worker_leaks_into_a_program() {
    let worker =
        worker(&["env", "sh *"]).variable("GRISTMILL_ALLOW_EXEC_ENV", "SEED,OMP_*").variable("API_KEY", "secret");
    let rig = Rig::with(worker.arg("--allow-exec-dir /usr"));
    let output =
        rig.cli.run(&["exec", "--env", "SEED={}", "--env", "OMP_X=1", "-a", "-", "--cwd", "/usr/bin", "--", "env"]);
    assert_eq!(output.code, 0, "an empty input has no jobs: {}", output.stderr);
    let output = rig.cli.run(&["exec", "--env", "SEED=7", "--env", "OMP_X=1", "--", "env"]);
    let shown = quiet(output);
    for (name, there) in [("SEED=7", true), ("OMP_X=1", true), ("GRISTMILL_TASK=", true), ("PATH=", true)] {
        assert_eq!(shown.contains(name), there, "{name} in {shown}");
    }
    for secret in ["GRISTMILL_REDIS", "redis", "API_KEY", "secret", "GRISTMILL_ALLOW"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    let pwd = rig.cli.run(&script(&["--cwd", "/usr/bin"], "pwd", &[]));
    assert_eq!(quiet(pwd), "/usr/bin\n");
    for (options, told) in [
        (&["--env", "OTHER=1"][..], "OTHER"),
        (&["--env", "LD_PRELOAD=/x.so"], "no task can set the variable LD_PRELOAD"),
        (&["--env", "PATH=/tmp"], "no task can set the variable PATH"),
        (&["--cwd", "/etc"], "--allow-exec-dir"),
        (&["--cwd", "/usr/../etc"], "--allow-exec-dir"),
        (&["--cwd", "usr"], "absolute path"),
    ] {
        let output = rig.cli.run(&script(options, "echo ran", &[]));
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{options:?}");
        assert_says(&output.stderr, &[told]);
    }
}

#[test]
fn what_no_operator_has_allowed_does_not_run() {
    let rig = Rig::with(worker(&["echo hi", "secret-tool *"]));
    assert_eq!(quiet(rig.cli.run(&["exec", "--", "echo", "hi"])), "hi\n");
    for command in [&["echo", "hi", "there"][..], &["sh", "-c", "echo hi"], &["/bin/echo", "hi"]] {
        let output = rig.cli.run(&[&["exec", "--"], command].concat());
        assert_eq!((output.code, output.stdout.as_str()), (1, ""));
        assert_says(&output.stderr, &["does not allow this command", "any of the 2 patterns", "--allow-exec"]);
        assert!(!output.stderr.contains("secret-tool"), "{}", output.stderr);
    }
    assert!(rows(&rig.cli.run(&["kernels", "--json"])).iter().any(|kernel| kernel["kernel"] == "exec"));
    let plain = Rig::start();
    assert!(rows(&plain.cli.run(&["kernels", "--json"])).iter().all(|kernel| kernel["kernel"] != "exec"));
    let line = error(&plain.cli.run(&["exec", "--", "true"]), 125);
    assert_says(&line, &["no worker runs programs", "--allow-exec", "--force"]);
}

#[test]
fn patterns_that_nobody_can_mean_are_refused_at_the_start() {
    let mut command = Command::new(binaries::find("gristmill-worker"));
    command.args(["--allow-exec", "cat a | sh", "--allow-exec", "./x", "--allow-exec-env", "LD_PRELOAD"]);
    let output = command.env("GRISTMILL_ALLOW_EXEC_DIR", "relative").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    let begins =
        ["--allow-exec \"cat a | sh\"", "--allow-exec \"./x\"", "--allow-exec-env \"LD_PRELOAD\"", "--allow-exec-dir"];
    assert_eq!(text.lines().count(), begins.len(), "{text}");
    for (line, begin) in text.lines().zip(begins) {
        assert!(line.strip_prefix("gristmill-worker: ").unwrap().starts_with(begin), "{line}");
    }
}

#[test]
fn a_time_limit_ends_a_whole_family() {
    let rig = rig();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids").display().to_string();
    let family =
        "sleep 600 & echo $! > \"$1\"; setsid sh -c 'sleep 600 & echo $! >> \"$1\"' sh \"$1\"; echo $$ >> \"$1\"; wait";
    let output = rig.cli.run(&script(&["--time-limit", "1s"], family, &[&file]));
    assert_eq!(output.code, 1);
    assert_says(&output.stderr, &["timed_out"]);
    let pids = fs::read_to_string(&file).unwrap();
    assert_eq!(pids.lines().count(), 3, "{pids}");
    for pid in pids.lines() {
        eventually("it is gone", || (!fs::exists(format!("/proc/{pid}")).unwrap()).then_some(()));
    }
}

#[test]
fn a_directory_of_results_lets_a_run_go_on() {
    let rig = rig();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("out");
    let (dir, out) = (dir.as_path(), dir.to_str().unwrap());
    let marks = folder.path().join("marks").display().to_string();
    let job = "echo $2 >> \"$1\"; echo result $2; echo warning >&2; [ $2 != 2 ] || [ -e \"$1.fixed\" ]";
    let run = || rig.cli.run(&script(&["--grid", "n=1..3", "--results-dir", out, "--resume"], job, &[&marks, "{n}"]));
    let output = run();
    assert_eq!(output.code, 1, "{}", output.stderr);
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["000001", "000002", "000003"]);
    assert_eq!((text(dir, "000003/stdout").as_str(), text(dir, "000003/stderr").as_str()), ("result 3\n", "warning\n"));
    let status: Value = serde_json::from_str(&text(dir, "000002/status.json")).unwrap();
    assert_eq!((&status["exit_code"], &status["outcome"]), (&1.into(), &"failed".into()), "{status}");
    fs::write(format!("{marks}.fixed"), "").unwrap();
    let output = run();
    assert_eq!((output.code, output.stdout.as_str()), (0, "result 2\n"), "{}", output.stderr);
    assert_says(&output.stderr, &["2 jobs had been done before"]);
    assert_eq!(fs::read_to_string(&marks).unwrap(), "1\n2\n3\n2\n");
    let output = rig.cli.run(&["exec", "--grid", "n=1..3", "--results-dir", out, "--resume", "--", "echo", "{n}"]);
    assert_says(&error(&output, 122), &["is of another command"]);
    let input = folder.path().join("input");
    fs::write(&input, "other").unwrap();
    let options = ["--grid", "n=1..3", "--results-dir", out, "--resume", "--stdin", input.to_str().unwrap()];
    let output = rig.cli.run(&script(&options, job, &[&marks, "{n}"]));
    assert_says(&error(&output, 122), &["with another --env, --cwd or --stdin"]);
}

#[test]
fn after_a_timeout_only_what_was_not_submitted_is_for_another_run() {
    let rig = rig();
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("again.csv").display().to_string();
    let marks = folder.path().join("marks").display().to_string();
    let job = "echo $2 >> \"$1\"; [ $2 = 1 ] || sleep 2";
    let options = ["--grid", "n=1..3", "--chunk", "1", "--failed", &again, "--timeout", "1s"];
    let output = rig.cli.run(&script(&options, job, &[&marks, "{n}"]));
    assert_eq!(output.code, 124, "{}", output.stderr);
    assert_says(&output.stderr, &["those that were submitted go on"]);
    assert_eq!(fs::read_to_string(&again).unwrap(), "", "all were submitted");
    eventually("they do go on", || (fs::read_to_string(&marks).ok()?.lines().count() == 3).then_some(()));
}

#[test]
fn an_error_here_leaves_the_rows_for_another_run() {
    let rig = rig();
    let folder = tempfile::tempdir().unwrap();
    let (again, dir) = (folder.path().join("again.csv"), folder.path().join("out"));
    // In place of the directory of the second job stands something that cannot be replaced by one.
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(".000002.new"), "").unwrap();
    let (again, dir) = (again.to_str().unwrap(), dir.to_str().unwrap());
    let output = rig.cli.run(&[
        "exec",
        "--grid",
        "n=1..3",
        "--grid",
        "s=x,\"y,z\"",
        "--chunk",
        "1",
        "--failed",
        again,
        "--results-dir",
        dir,
        "--",
        "echo",
        "{n}{s}",
    ]);
    assert_eq!((output.code, output.stdout.as_str()), (122, "1x\n"), "{}", output.stderr);
    assert_says(&output.stderr, &["cannot write", "000002"]);
    assert_eq!(fs::read_to_string(again).unwrap(), "n,s\n1,\"y,z\"\n2,x\n2,\"y,z\"\n3,x\n3,\"y,z\"\n");
    let rest = rig.cli.run(&["exec", "-a", again, "--dry-run", "--", "echo", "{n}{s}"]);
    assert!(quiet(rest).starts_with("echo 1y,z\n"));
}

#[test]
fn ctrl_c_cancels_the_jobs_that_have_not_started() {
    let mut rig = rig();
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("again").display().to_string();
    let marks = folder.path().join("marks").display().to_string();
    let job = "echo $2 >> \"$1\"; [ $2 = 1 ] || sleep 3";
    let dir = folder.path().join("out");
    let options = ["--grid", "n=1..50", "--chunk", "1", "--failed", &again, "--results-dir", dir.to_str().unwrap()];
    let running = rig.cli.spawn(&script(&options, job, &[&marks, "{n}"]));
    eventually("the second job runs", || (fs::read_to_string(&marks).ok()?.lines().count() == 2).then_some(()));
    eventually("the first job is answered", || dir.join("000001/status.json").exists().then_some(()));
    running.signal(Signal::SIGINT);
    let output = running.wait();
    assert_eq!(output.code, 130, "{}", output.stderr);
    assert_says(&output.stderr, &["interrupted", "what runs goes on", "cancelled what had not started"]);
    assert_eq!(fs::read_to_string(&again).unwrap().lines().count(), 49, "all but the first");
    eventually("what ran has ended", || rig.redis.matching("{gm}:inflight:*").is_empty().then_some(()));
    assert_eq!(fs::read_to_string(&marks).unwrap(), "1\n2\n", "the others never started");
    let rest = rig.cli.run(&["exec", "-a", &again, "--input-format", "jsonl", "--dry-run", "--", "echo", "{n}"]);
    assert!(quiet(rest).starts_with("echo 2\necho 3\n"));
}

#[test]
fn what_is_wrong_is_told_before_anything_runs() {
    let rig = rig();
    for (args, told) in [
        (&["--grid", "a=1", "--", "echo", "{b}"][..], "there is no {b}: use {}, {a}, {#}"),
        (&["--grid", "a=1", "--", "echo"], "uses nothing of the rows: write {a}"),
        (&["--", "echo", "{"], "has a { without a }"),
        (&["--", "echo", "{}"], "there is no {}: use {#}"),
        (&["--env", "SURELY_NOT_SET", "--", "echo"], "--env SURELY_NOT_SET: it is not set here"),
        (&["--output-max", "16MiB", "--", "echo"], "use at most 15MiB"),
        (&["-a", "/nowhere", "--", "echo"], "cannot read /nowhere"),
        (&["--resume", "--", "echo"], "--results-dir"),
        (&["--shared", "/x", "--", "echo"], "no program can read it; --stdin"),
        (&["--shared-bytes", "/x", "--", "echo"], "no program can read it; --stdin"),
        (&["--ignore-result", "--json", "--", "echo"], "keeps nothing that --json could show"),
        (&["--ignore-result", "--results-dir", "/x", "--", "echo"], "keeps nothing that --results-dir could show"),
    ] {
        let line = error(&rig.cli.run(&[&["exec"], args].concat()), 122);
        assert_says(&line, &[told]);
    }
    let output = rig.cli.run_with(&["exec", "-a", "-", "--", "echo", "{x}"], "line\n");
    assert_says(&output.stderr, &["line 1: there is no {x}: use {}, {#}"]);
    assert_eq!(output.code, 122);
    let output = rig.cli.run(&["exec", "--grid", "a=x y,z", "--dry-run", "--", "rm", "-r", "it's {a}"]);
    assert_eq!(quiet(output), "rm -r 'it'\\''s x y'\nrm -r 'it'\\''s z'\n");
}
