//! Input that is no JSON, and JSON that does not fit.

use std::fs;

use gristmill_integration_tests::Redis;

use crate::rig::{Rig, assert_says, error, json_lines, quiet, rows};

#[test]
fn arguments_that_are_not_json_get_a_quoting_hint() {
    let rig = Rig::start();
    for args in ["hello", "[1", "{'a': 1}", "1 2", ""] {
        let line = error(&rig.cli.run(&["submit", "echo", args]), 2);
        assert_says(&line, &["ARGS_JSON is not JSON", args, "quote it"]);
    }
    let line = error(&rig.cli.run_with(&["submit", "echo", "-"], "[1,\n2"), 2);
    assert_says(&line, &["not JSON"]);
    let line = error(&rig.cli.run(&["submit", "echo", "18446744073709551616"]), 2);
    assert_says(&line, &["18446744073709551616", "64 bits"]);
    let line = error(&rig.cli.run(&["submit", "echo", r#"{"$bytes": "%"}"#]), 2);
    assert_says(&line, &["$bytes", "base64"]);
}

#[test]
fn arguments_that_do_not_fit_the_kernel_fail_the_task() {
    let rig = Rig::start();
    for args in [r#""seven""#, "[1, 2]", "null", "1.5", r#"{"n": 1}"#, "9223372036854775808"] {
        let output = rig.cli.run(&["submit", "square", args, "--wait", "--no-check"]);
        assert_eq!(output.stdout, "");
        let line = error(&output, 1);
        assert_says(&line, &["failed", "arguments of square do not fit"]);
    }
    let line = error(&rig.cli.run(&["submit", "square", "4000000000", "--wait"]), 1);
    assert_says(&line, &["4000000000", "does not fit in 64 bits"]);
    assert_eq!(quiet(rig.cli.run(&["submit", "square", "-7", "--wait"])), "49\n");
}

#[test]
fn a_bad_line_stops_map_and_is_named() {
    let mut rig = Rig::start();
    let output = rig.cli.run_with(&["map", "square"], "1\n2\nthree\n4\n");
    assert_eq!(output.stdout, "1\n4\n");
    let line = error(&output, 2);
    assert_says(&line, &["line 3: not JSON", "at column 2"]);
    assert!(!line.contains("line 1"), "{line}");
    let output = rig.cli.run_with(&["map", "square"], "1\n\n2\n");
    assert_eq!(output.stdout, "1\n");
    assert_says(&error(&output, 2), &["line 2", "empty"]);
    let mut input = b"1\n".to_vec();
    input.extend(b"\"\xff\"\n");
    let path = rig.redis.server().dir().join("input.jsonl");
    fs::write(&path, input).unwrap();
    let output = rig.cli.run(&["map", "square", "--input", path.to_str().unwrap()]);
    assert_eq!(output.stdout, "1\n");
    assert_says(&error(&output, 2), &["line 2", "UTF-8"]);
}

#[test]
fn a_bad_line_cancels_what_has_not_started() {
    let rig = Rig::start();
    let output = rig.cli.run_with(&["map", "sleep"], "0\n6\n600\n600\nthree\n600\n");
    assert_eq!(output.code, 2, "{}", output.stderr);
    let said: Vec<_> = output.stderr.lines().collect();
    assert_eq!(said.len(), 2, "{}", output.stderr);
    assert_says(said[0], &["cancelled what had not started of the batch"]);
    assert_says(said[1], &["line 5", "not JSON"]);
    let lines = json_lines(&output.stdout);
    // The second runs when the line is found, and is waited for.
    assert_eq!((lines.len(), &lines[0], &lines[1]), (4, &serde_json::Value::Null, &serde_json::Value::Null));
    for line in &lines[2..] {
        assert_eq!(line["$error"]["kind"], "cancelled");
    }
    let batch = said[0].rsplit(' ').next().unwrap();
    let status = &rows(&rig.cli.run(&["status", batch, "--json"]))[0];
    assert_eq!((&status["state"], &status["cancelled"]), (&"finished".into(), &2.into()));
}

#[test]
fn keep_going_answers_every_line() {
    let rig = Rig::start();
    let input = "x\n1\n\n2\n\"s\"\n{\n";
    let output = rig.cli.run_with(&["map", "square", "--keep-going", "--no-check"], input);
    assert_says(&error(&output, 1), &["4 of 6 lines", "line 1"]);
    let lines = json_lines(&output.stdout);
    let kind = |line: usize| lines[line]["$error"]["kind"].as_str();
    assert_eq!(lines.len(), 6);
    assert_eq!((&lines[1], &lines[3]), (&1.into(), &4.into()));
    assert_eq!(
        [kind(0), kind(2), kind(4), kind(5)],
        [Some("bad_input"), Some("bad_input"), Some("failed"), Some("bad_input")]
    );
}

#[test]
fn check_looks_before_anything_is_submitted() {
    let mut rig = Rig::start();
    let path = rig.redis.server().dir().join("input.jsonl");
    let name = path.to_str().unwrap();
    fs::write(&path, "1\n2\n[3\n").unwrap();
    let output = rig.cli.run(&["map", "square", "--input", name, "--check"]);
    assert_eq!(output.stdout, "");
    assert_says(&error(&output, 2), &[name, "line 3", "nothing was submitted"]);
    assert_eq!(rig.redis.matching("{gm}:batch*"), [""; 0]);
    fs::write(&path, "1\n2\n3\n").unwrap();
    assert_eq!(quiet(rig.cli.run(&["map", "square", "--input", name, "--check"])), "1\n4\n9\n");
    // Without a file there is nothing that could be read twice.
    assert_eq!(rig.cli.run(&["map", "square", "--check"]).code, 2);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let mut rig = Rig::start();
    let dir = rig.redis.server().dir().to_owned();
    let path = dir.join("input.jsonl");
    fs::write(&path, "1\n").unwrap();
    let (dir, name) = (dir.to_str().unwrap(), path.to_str().unwrap());
    assert_says(&error(&rig.cli.run(&["map", "square", "-i", "/nowhere/x"]), 2), &["/nowhere/x"]);
    assert_says(&error(&rig.cli.run(&["map", "square", "-i", dir]), 2), &[dir, "directory"]);
    assert_says(&error(&rig.cli.run(&["map", "square", "-i", name, "-o", name]), 2), &[name, "another"]);
    assert_says(&error(&rig.cli.run(&["map", "square", "-i", name, "-o", "/nowhere/x"]), 2), &["/nowhere/x"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    let output = format!("{dir}/output.jsonl");
    assert_eq!(quiet(rig.cli.run(&["map", "square", "-i", name, "-o", &output])), "");
    assert_eq!(fs::read_to_string(output).unwrap(), "1\n");
}

#[test]
fn an_argument_over_the_limit_is_refused() {
    let redis = &mut Redis::start();
    let cli = gristmill_integration_tests::Cli::new(redis);
    let text = format!("\"{}\"", "a".repeat(33 << 20));
    let line = error(&cli.run_with(&["submit", "echo", "-"], &text), 2);
    assert_says(&line, &["33554432"]);
    let line = error(&cli.run_with(&["map", "echo"], &format!("{text}\n")), 2);
    assert_says(&line, &["33554432"]);
    assert_eq!(redis.matching("{gm}:blob*"), [""; 0]);
    assert_eq!(redis.depth(), 0);
}

#[test]
fn a_large_argument_goes_round() {
    let rig = Rig::start();
    let text = format!("\"{}\"\n", "ü".repeat(1 << 20));
    assert_eq!(quiet(rig.cli.run_with(&["submit", "echo", "-", "--wait"], &text)), text);
}
