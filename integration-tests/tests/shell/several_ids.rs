//! Ids of one command on the stdin of another; labels, keys, shared input, outputs that nobody wants.

use std::fs;

use gristmill_integration_tests::WorkerOptions;

use crate::rig::{Rig, assert_says, batch_of, error, json_lines, quiet, rows};

#[test]
fn ids_of_one_command_are_those_of_another() {
    let rig = Rig::start();
    let ids: String = ["2", "3", "4"].map(|n| quiet(rig.cli.run(&["submit", "square", n]))).concat();
    assert_eq!(quiet(rig.cli.run_with(&["results", "-", "--wait"], &ids)), "4\n9\n16\n");
    let given: Vec<&str> = ids.lines().collect();
    let output = quiet(rig.cli.run_with(&["results", given[2], "-", "--output-format", "csv"], given[0]));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "index,id,value,error_kind,error");
    assert_eq!(lines[1..], [format!("0,{},16,,", given[2]), format!("0,{},4,,", given[0])]);
    let states = rows(&rig.cli.run_with(&["status", "-", "--json"], &ids));
    let of = |field: &str| states.iter().map(|row| row[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("task"), given);
    // As that prints them: an array of objects.
    let printed = rig.cli.run_with(&["status", "-", "--json"], &ids).stdout;
    assert_eq!(quiet(rig.cli.run_with(&["results", "-"], &printed)), "4\n9\n16\n");
    assert_eq!(rig.cli.run(&["status", given[0], given[1]]).stdout.matches("\n\n").count(), 1);
    // What `map --records` prints names tasks, too; a single one of several can be asked for.
    let records = quiet(rig.cli.run_with(&["map", "echo", "--records"], "\"a\"\n\"b\"\n"));
    let states = rows(&rig.cli.run_with(&["status", "-", "--json"], &records));
    assert_eq!((states.len(), &states[1]["state"]), (2, &"ended".into()));
    // So do its table, and each form of a status.
    let table = quiet(rig.cli.run_with(&["map", "echo", "--output-format", "csv"], "\"a,\\nb\"\n\"b\"\n"));
    for form in
        [&["--json"][..], &["--output-format", "jsonl"], &["--output-format", "csv"], &["--output-format", "tsv"]]
    {
        let status = |ids: &str| quiet(rig.cli.run_with(&[&["status", "-"], form].concat(), ids));
        let printed = status(&table);
        assert_eq!(status(&printed), printed, "{form:?}");
        let header = printed.lines().next().unwrap();
        assert_eq!(header.starts_with("task"), form.len() == 2 && form[1] != "jsonl", "{printed}");
        assert_eq!(quiet(rig.cli.run_with(&["results", "-"], &status(&ids))), "4\n9\n16\n", "{form:?}");
    }
    assert_eq!(quiet(rig.cli.run_with(&["results", "-"], "")), "");
    assert_eq!(rig.cli.run(&["results"]).code, 2);
    assert_says(&error(&rig.cli.run_with(&["cancel", "-"], "\nseven\n"), 2), &["line 2 of stdin", "seven"]);
}

#[test]
fn an_unknown_id_does_not_keep_the_others_back() {
    let rig = Rig::start();
    let known = quiet(rig.cli.run(&["submit", "square", "5"]));
    quiet(rig.cli.run(&["results", known.trim(), "--wait"]));
    let unknown = "01990000-0000-7000-8000-000000000000";
    let ids = format!("{unknown}\n{known}");
    let output = rig.cli.run_with(&["results", "-"], &ids);
    assert_eq!(output.stdout, "25\n");
    assert_says(&error(&output, 5), &[unknown]);
    let output = rig.cli.run_with(&["status", "-", "--json"], &ids);
    assert_says(&output.stdout, &[known.trim()]);
    assert_says(&error(&output, 5), &[unknown]);
    let output = rig.cli.run_with(&["cancel", "-"], &ids);
    assert_eq!(output.code, 5);
    assert_says(&output.stderr, &[known.trim(), "has ended already", unknown]);
}

#[test]
fn several_are_cancelled_at_once() {
    let rig = Rig::start();
    let first = quiet(rig.cli.run(&["submit", "sleep", "1"]));
    let ids: String = ["600", "600"].map(|n| quiet(rig.cli.run(&["submit", "sleep", n]))).concat();
    let output = rig.cli.run_with(&["cancel", "-"], &ids);
    assert_eq!((output.code, output.stderr.matches("cancelled ").count()), (0, 2), "{}", output.stderr);
    let output = rig.cli.run_with(&["results", "-", "--wait"], &format!("{first}{ids}"));
    assert_says(&error(&output, 1), &["2 of 3 tasks"]);
    assert_eq!(output.stdout.matches("\"kind\":\"cancelled\"").count(), 2);
}

#[test]
fn results_of_a_batch_go_into_a_table() {
    let mut rig = Rig::start();
    let table = rig.redis.server().dir().join("table.tsv");
    let records = quiet(rig.cli.run_with(&["map", "echo", "--records", "--timeout", "600s"], "1\n"));
    let task = json_lines(&records)[0]["id"].as_str().unwrap().to_owned();
    // The results of a map are gone with it; those of a batch of one stay.
    assert_eq!(rig.cli.run(&["results", batch_of(&task)]).code, 1);
    let task = quiet(rig.cli.run(&["submit", "echo", r#"{"x":1,"y":"a\tb"}"#]));
    quiet(rig.cli.run(&["results", batch_of(&task), "--wait", "-o", table.to_str().unwrap()]));
    let text = fs::read_to_string(table).unwrap();
    assert_eq!(text, format!("index\tid\tx\ty\terror_kind\terror\n0\t{}\t1\t\"a\tb\"\t\t\n", task.trim()));
}

#[test]
fn labels_are_shown_and_keys_make_one_task() {
    let rig = Rig::start();
    let submit = |more: &[&str]| rig.cli.run(&[&["submit", "square", "7"][..], more].concat());
    let task = quiet(submit(&["--label", "experiment=7", "--label", "note=a=b", "--key", "k1"]));
    let status = &rows(&rig.cli.run(&["status", batch_of(&task), "--json"]))[0];
    assert_eq!(status["labels"], serde_json::json!({ "experiment": "7", "note": "a=b" }));
    assert_eq!(status["key"], "k1");
    let again = submit(&["--key", "k1", "--wait"]);
    assert_eq!((again.code, again.stdout.as_str()), (0, "49\n"));
    assert_says(&again.stderr, &["\"k1\" is known", task.trim()]);
    let line = error(&rig.cli.run(&["submit", "square", "8", "--key", "k1"]), 2);
    assert_says(&line, &["\"k1\"", batch_of(&task)]);
    for (more, fragments) in [
        (&["--label", "x"][..], &["NAME=VALUE"][..]),
        (&["--label", "a=1", "--label", "a=2"], &["--label a occurs twice"]),
        (&["--label", "A B=1"], &["label", "A B"]),
        (&["--key", "k2", "--key-window", "31d"], &["30 days"]),
        (&["--key-window", "1h"], &["--key"]),
        (&["--key", ""], &["1 to 256 bytes"]),
    ] {
        assert_says(&error(&submit(more), 2), fragments);
    }
    assert_eq!(rig.cli.run_with(&["map", "square", "--key", "k"], "1\n").code, 2);
}

#[test]
fn outputs_that_nobody_wants_are_not_made_up() {
    let rig = Rig::start();
    let map = |more: &[&str]| {
        let args = [&["map", "echo", "--ignore-result"][..], more].concat();
        rig.cli.run_with(&args, "1\nnull\n").ok()
    };
    assert_eq!(map(&[]), "");
    let lines = json_lines(&map(&["--records", "--with-args"]));
    assert_eq!((lines.len(), &lines[0]["kept"], &lines[0]["args"]), (2, &false.into(), &1.into()));
    assert!(lines[0].get("value").is_none());
    let table = map(&["--output-format", "csv"]);
    assert!(table.starts_with("index,id,value,error_kind,error\n0,") && table.ends_with(".1,,,\n"), "{table}");
    assert_eq!(rig.cli.run(&["submit", "square", "7", "--ignore-result", "--wait"]).ok(), "");
}

#[test]
fn a_file_is_shared_by_all_tasks() {
    let mut rig = Rig::with(WorkerOptions::new().test_kernels());
    let dir = rig.redis.server().dir().to_owned();
    let (json, bytes) = (dir.join("shared.json"), dir.join("shared.bin"));
    fs::write(&json, "{\"a\": 1, \"b\": [2]}\n").unwrap();
    fs::write(&bytes, [7; 100_000]).unwrap();
    let (json, bytes) = (json.to_str().unwrap(), bytes.to_str().unwrap());
    let output = quiet(rig.cli.run_with(&["map", "shared.lookup", "--shared", json], "\"a\"\n\"b\"\n"));
    assert_eq!(output, "1\n[2]\n");
    let output = rig.cli.run_with(&["map", "shared.sum", "--shared-bytes", bytes], "[0, 100000]\n").ok();
    assert_eq!(output.lines().count(), 1);
    assert_eq!(quiet(rig.cli.run(&["submit", "shared.lookup", "\"b\"", "--shared", json, "--wait"])), "[2]\n");
    let line = error(&rig.cli.run(&["submit", "echo", "1", "--shared", bytes]), 2);
    assert_says(&line, &["shared.bin", "not JSON", "--shared-bytes"]);
    assert_says(&error(&rig.cli.run(&["submit", "echo", "1", "--shared", "/nowhere/x"]), 2), &["/nowhere/x"]);
    assert_eq!(rig.cli.run(&["submit", "echo", "1", "--shared", json, "--shared-bytes", bytes]).code, 2);
}
