//! Arguments are compared with what the kernel takes, before anything is submitted.

use std::fs;

use gristmill_integration_tests::WorkerOptions;

use crate::rig::{Rig, assert_says, error, json_lines, quiet, rows};

#[test]
fn what_does_not_fit_is_not_submitted() {
    let mut rig = Rig::start();
    for (args, says) in [
        (r#""seven""#, "an integer is expected, not \"seven\""),
        ("[1, 2]", "an integer is expected, not [1,2]"),
        ("1.5", "an integer is expected, not 1.5"),
        ("7.0", "an integer is expected, not 7.0"),
        ("9223372036854775808", "not 9223372036854775808"),
    ] {
        let output = rig.cli.run(&["submit", "square", args, "--wait"]);
        assert_eq!(output.stdout, "");
        assert_says(&error(&output, 2), &["ARGS_JSON: the arguments do not fit square: ", says]);
    }
    let line = error(&rig.cli.run(&["submit", "monte_carlo_pi", r#"[1000, "x"]"#]), 2);
    assert_says(&line, &["monte_carlo_pi: [1] (seed): an integer >= 0 is expected, not \"x\""]);
    let line = error(&rig.cli.run(&["submit", "monte_carlo_pi", "1000"]), 2);
    assert_says(&line, &["(an array of samples, seed)"]);
    let line = error(&rig.cli.run(&["submit", "monte_carlo_pi"]), 2);
    assert_says(&line, &["not null"]);
    assert_eq!(rig.redis.command::<u64>("HLEN {gm}:queue:default"), 0);
}

#[test]
fn who_insists_has_it_submitted() {
    let rig = Rig::start();
    for option in ["--force", "--no-check"] {
        let line = error(&rig.cli.run(&["submit", "square", "1.5", "--wait", option]), 1);
        assert_says(&line, &["failed", "arguments of square do not fit"]);
    }
    let output = rig.cli.run_with(&["map", "square", "--no-check"], "2\n\"x\"\n");
    assert_eq!(output.code, 1);
    assert_says(&output.stdout, &["4\n{\"$error\"", "do not fit"]);
}

#[test]
fn several_parameters_may_be_named() {
    let rig = Rig::start();
    let in_order = quiet(rig.cli.run(&["submit", "monte_carlo_pi", "[1000, 7]", "--wait"]));
    let named = quiet(rig.cli.run(&["submit", "monte_carlo_pi", r#"{"seed": 7, "samples": 1000}"#, "--wait"]));
    assert_eq!(named, in_order);
    let lines = quiet(rig.cli.run_with(&["map", "monte_carlo_pi"], "[1000, 7]\n{\"samples\": 1000, \"seed\": 7}\n"));
    assert_eq!(lines, in_order.repeat(2));
    let line = error(&rig.cli.run(&["submit", "monte_carlo_pi", r#"{"samples": 1000, "sed": 7}"#]), 2);
    assert_says(&line, &["array", "samples, seed"]);
    let line = error(&rig.cli.run(&["submit", "monte_carlo_pi", r#"{"samples": -1, "seed": 7}"#]), 2);
    assert_says(&line, &["samples: an integer >= 0 is expected, not -1"]);
}

#[test]
fn a_line_that_does_not_fit_is_a_bad_line() {
    let mut rig = Rig::start();
    let output = rig.cli.run_with(&["map", "square"], "1\n2\n\"x\"\n4\n");
    assert_eq!(output.stdout, "1\n4\n");
    assert_says(&error(&output, 2), &["line 3: the arguments do not fit square: ", "not \"x\""]);

    let output = rig.cli.run_with(&["map", "square", "--keep-going"], "1\n1.5\n3\n");
    assert_eq!(output.code, 1);
    let lines = json_lines(&output.stdout);
    assert_eq!((lines.len(), &lines[0], &lines[2]), (3, &1.into(), &9.into()));
    assert_says(lines[1]["$error"]["message"].as_str().unwrap(), &["an integer is expected, not 1.5"]);

    let path = rig.redis.server().dir().join("input.jsonl");
    fs::write(&path, "1\n2\nnull\n").unwrap();
    let output = rig.cli.run(&["map", "square", "--check", "--input", path.to_str().unwrap()]);
    assert_eq!(output.stdout, "");
    assert_says(&error(&output, 2), &["line 3: ", "not null", "nothing was submitted"]);
}

#[test]
fn a_schema_that_makes_no_sense_checks_nothing() {
    let mut rig = Rig::with(WorkerOptions::new().arg("--queues=other"));
    let now: Vec<u64> = rig.redis.command("TIME");
    let mut connection = rig.redis.connect();
    let mut offer = |kernel: &str, info: &str| {
        let value = format!("{}000 {info}", now[0]);
        redis::cmd("HSET").arg("{gm}:kernels").arg(kernel).arg(value).exec(&mut connection).unwrap();
    };
    offer("odd", r#"{"args_schema": "what?"}"#);
    offer("silent", "no json at all");
    let long = format!(r#"{{"args_schema": {{}}, "doc": "{}"}}"#, "x".repeat(2 << 20));
    offer("long", &long);
    for (kernel, warns) in [("odd", true), ("silent", false), ("long", true)] {
        let output = rig.cli.run(&["submit", kernel, "[1]"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        let warned = output.stderr.contains(&format!("warning: the arguments of {kernel} are not checked: "));
        assert_eq!(warned, warns, "{}", output.stderr);
    }
}

#[test]
fn a_kernel_is_shown_with_its_fields_and_an_example() {
    let rig = Rig::start();
    let shown = quiet(rig.cli.run(&["kernels", "monte_carlo_pi"]));
    assert_says(&shown, &["FIELD", "samples  integer >= 0  yes", "How many points to draw, 1 to 10^12."]);
    let example = shown.lines().last().unwrap().trim();
    assert_eq!(example, "gristmill submit monte_carlo_pi '[1,1]' --wait");
    let args = example.split('\'').nth(1).unwrap();
    quiet(rig.cli.run(&["submit", "monte_carlo_pi", args, "--wait"]));

    let found = rows(&rig.cli.run(&["kernels", "monte_carlo_pi", "--json"]));
    assert_eq!((&found[0]["fields"][1]["field"], &found[0]["example"]), (&"seed".into(), &serde_json::json!([1, 1])));
    let schema = quiet(rig.cli.run(&["kernels", "--schema", "monte_carlo_pi"]));
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!((schema["prefixItems"].as_array().unwrap().len(), &schema["maxItems"]), (2, &2.into()));
    assert_says(&error(&rig.cli.run(&["kernels", "--schema"]), 2), &["KERNEL"]);
    assert_says(&error(&rig.cli.run(&["kernels", "--schema", "squar"]), 5), &["did you mean square?"]);
}
