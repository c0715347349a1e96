//! JSON in and out: what stays exact, and which line answers which.

use crate::rig::{Rig, assert_says, error, json_lines, quiet};

#[test]
fn values_come_back_as_they_went() {
    let rig = Rig::start();
    for value in [
        "18446744073709551615",
        "-9223372036854775808",
        "9007199254740993",
        "-1.5",
        "1.0",
        "null",
        "true",
        r#""ü\n\"quoted\"""#,
        r#"{"$bytes":"AAH/"}"#,
        r#"{"$float":"NaN"}"#,
        r#"[{"$float":"Infinity"},{"$float":"-Infinity"}]"#,
        r#"{"b":{"$bytes":""},"a":[1,[2,[3]],{}]}"#,
    ] {
        assert_eq!(quiet(rig.cli.run(&["submit", "echo", value, "--wait"])), format!("{value}\n"));
    }
    // Without arguments, a kernel gets nothing.
    assert_eq!(quiet(rig.cli.run(&["submit", "echo", "--wait"])), "null\n");
    assert_eq!(quiet(rig.cli.run_with(&["submit", "echo", "-", "--wait"], "{\n\"a\": 1\n}\n")), "{\"a\":1}\n");
    assert_eq!(quiet(rig.cli.run(&["submit", "monte_carlo_pi", "[1000, 1]", "--wait"])).lines().count(), 1);
}

#[test]
fn line_n_answers_line_n() {
    let rig = Rig::start();
    let input: String = (0..3000).map(|n| if n % 100 == 7 { "\"x\"\n".into() } else { format!("{n}\n") }).collect();
    let output = rig.cli.run_with(&["map", "square", "--no-check"], &input);
    assert_says(&error(&output, 1), &["30 of 3000 lines did not succeed", "line 8"]);
    let lines = json_lines(&output.stdout);
    assert_eq!(lines.len(), 3000);
    for (n, line) in lines.iter().enumerate() {
        if n % 100 == 7 {
            let failure = &line["$error"];
            assert_eq!((&failure["kind"], &failure["attempt"]), (&"failed".into(), &1.into()), "{line}");
            assert!(failure["id"].as_str().unwrap().ends_with(&format!(".{n}")), "{line}");
            assert_says(failure["message"].as_str().unwrap(), &["do not fit"]);
        } else {
            assert_eq!(*line, (n * n).to_string().parse::<serde_json::Value>().unwrap());
        }
    }
}

#[test]
fn records_name_their_line() {
    let rig = Rig::start();
    let output = rig.cli.run_with(&["map", "square", "--no-check", "--records", "--keep-going"], "2\nx\n\"y\"\n3\n");
    error(&output, 1);
    let lines = json_lines(&output.stdout);
    let index: Vec<_> = lines.iter().map(|line| line["index"].as_u64()).collect();
    assert_eq!(index, [Some(0), Some(1), Some(2), Some(3)]);
    assert_eq!((&lines[0]["value"], &lines[3]["value"]), (&4.into(), &9.into()));
    assert_eq!((&lines[1]["error"]["kind"], &lines[1]["id"]), (&"bad_input".into(), &serde_json::Value::Null));
    assert_eq!(lines[2]["error"]["kind"], "failed");
    assert_eq!(lines[2]["error"]["id"], lines[2]["id"]);
    for line in &lines {
        assert!(line.get("value").is_some() != line.get("error").is_some(), "{line}");
    }
}

#[test]
fn unordered_results_are_all_there() {
    let rig = Rig::start();
    let input: String = (0..500).map(|n| format!("{n}\n")).collect();
    let output = quiet(rig.cli.run_with(&["map", "square", "--unordered"], &input));
    let mut lines = json_lines(&output);
    lines.sort_by_key(|line| line["index"].as_u64());
    assert_eq!(lines.len(), 500);
    for (n, line) in (0u64..).zip(&lines) {
        assert_eq!((line["index"].as_u64(), line["value"].as_u64()), (Some(n), Some(n * n)));
    }
}

#[test]
fn unordered_results_do_not_wait_for_a_slow_one() {
    let rig = crate::rig::Rig::with(gristmill_integration_tests::WorkerOptions::new().consumers(2));
    let output = quiet(rig.cli.run_with(&["map", "sleep", "--unordered"], "1\n0\n0\n0\n"));
    let order: Vec<_> = json_lines(&output).iter().map(|line| line["index"].as_u64().unwrap()).collect();
    assert_eq!(order.len(), 4);
    assert_eq!(order[3], 0, "{order:?}");
}

#[test]
fn nothing_in_nothing_out() {
    let rig = Rig::start();
    assert_eq!(quiet(rig.cli.run_with(&["map", "square"], "")), "");
    assert_eq!(quiet(rig.cli.run_with(&["map", "square"], "\n\n")), "");
    assert_eq!(quiet(rig.cli.run_with(&["map", "square"], "3\r\n4")), "9\n16\n");
}
