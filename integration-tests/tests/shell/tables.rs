//! CSV in and out, grids, and what is written beside: arguments, and the rows that did not succeed.

use std::fs;
use std::path::PathBuf;

use gristmill_integration_tests::eventually;
use nix::sys::signal::Signal;

use crate::rig::{Rig, assert_says, error, json_lines, quiet};

/// A file in the directory of the test's Redis, which goes with it.
fn file(rig: &mut Rig, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = path(rig, name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn path(rig: &mut Rig, name: &str) -> PathBuf {
    rig.redis.server().dir().join(name)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn csv_becomes_what_the_kernel_takes() {
    let mut rig = Rig::start();
    let one = file(&mut rig, "one.csv", "\u{feff}n\r\n3\r\n-4\r\n");
    assert_eq!(quiet(rig.cli.run(&["map", "square", "-i", &one])), "9\n16\n");
    let texts = file(&mut rig, "texts.csv", "text\n\"one two\none\"\n007\n");
    let output = quiet(rig.cli.run(&["map", "text.word_count", "-i", &texts]));
    assert_eq!(output, "{\"one\":2,\"two\":1}\n{\"007\":1}\n");
    // By the names of the parameters, or in their order where nobody knows these.
    let two = file(&mut rig, "two.tsv", "samples\tseed\n1000\t1\n1000\t2\n");
    let output = quiet(rig.cli.run(&["map", "monte_carlo_pi", "-i", &two]));
    let single = quiet(rig.cli.run(&["submit", "monte_carlo_pi", "[1000, 2]", "--wait"]));
    assert_eq!(output.lines().nth(1), single.lines().next());
    // Nobody knows what echo takes.
    let any = "a,b,c\n1,true,\n1.5,007,\"x, y\"\n";
    let output = quiet(rig.cli.run_with(&["map", "echo", "--input-format", "csv"], any));
    assert_eq!(output, "{\"a\":1,\"b\":true,\"c\":null}\n{\"a\":1.5,\"b\":\"007\",\"c\":\"x, y\"}\n");
    let output = quiet(rig.cli.run_with(&["map", "echo", "--input-format", "csv", "--strings"], "a,b\n1,true\n"));
    assert_eq!(output, "{\"a\":\"1\",\"b\":\"true\"}\n");
    assert_eq!(
        quiet(rig.cli.run_with(&["map", "echo", "--input-format", "lines"], "1\n\na b\n\n")),
        "\"1\"\n\"\"\n\"a b\"\n"
    );
    assert_eq!(quiet(rig.cli.run_with(&["map", "echo", "--input-format", "csv"], "")), "");
    assert_eq!(quiet(rig.cli.run_with(&["map", "echo", "--input-format", "csv"], "a,b\n")), "");
}

#[test]
fn csv_that_is_wrong_is_told_by_line_and_column() {
    let mut rig = Rig::start();
    let csv = |text: &str, more: &[&str]| {
        let args = [&["map", "echo", "--input-format", "csv"][..], more].concat();
        rig.cli.run_with(&args, text)
    };
    let output = csv("a,b\n1,2\n\"3\n3\"\n4,5\n", &[]);
    assert_eq!(output.stdout, "{\"a\":1,\"b\":2}\n");
    assert_says(&error(&output, 2), &["line 3", "1 cell for 2 columns (a, b)", "nothing for \"b\""]);
    let output = csv("a,b\n1,2,3\n4,5\n6,7\n", &["--keep-going"]);
    let lines = json_lines(&output.stdout);
    assert_says(&error(&output, 1), &["1 of 3 rows", "row 1: bad_input"]);
    assert_says(lines[0]["$error"]["message"].as_str().unwrap(), &["3 cells for 2 columns", "\"3\""]);
    assert_eq!((lines.len(), lines[2]["b"].as_i64()), (3, Some(7)));
    for (text, fragments) in [
        ("a,a\n1,2\n", &["line 1", "columns 1 and 2 alike", "\"a\""][..]),
        ("a,\n1,2\n", &["line 1", "column 2 of the header has no name"]),
        ("a\n99999999999999999999\n", &["line 2", "\"a\"", "64 bits"]),
        ("a\n1\n\"2\n3\n", &["line 3", "never closed"]),
    ] {
        assert_says(&error(&csv(text, &[]), 2), fragments);
    }
    let text = file(&mut rig, "latin.csv", b"a\n1\nb\xe4r\n");
    assert_says(&error(&rig.cli.run(&["map", "echo", "-i", &text]), 2), &["line 3", "\"a\"", "not UTF-8"]);
    let text = file(&mut rig, "late.csv", "n\n1\n2\nx\n");
    let line = error(&rig.cli.run(&["map", "square", "-i", &text, "--check"]), 2);
    assert_says(&line, &["late.csv, line 4", "nothing was submitted"]);
    let line = error(&rig.cli.run_with(&["map", "square", "--input-format", "csv"], "a,b\n1,2\n"), 2);
    assert_says(&line, &["line 1", "one value", "a, b"]);
}

#[test]
fn a_grid_runs_every_combination() {
    let rig = Rig::start();
    assert_eq!(quiet(rig.cli.run(&["map", "square", "--grid", "n=1..5"])), "1\n4\n9\n16\n25\n");
    let grid = ["map", "echo", "--grid", "a=0:0.3:0.1", "--grid", "b=x,7"];
    let lines = quiet(rig.cli.run(&grid));
    assert_eq!(
        lines.lines().take(4).collect::<Vec<_>>(),
        ["{\"a\":0.0,\"b\":\"x\"}", "{\"a\":0.0,\"b\":7}", "{\"a\":0.1,\"b\":\"x\"}", "{\"a\":0.1,\"b\":7}"]
    );
    assert_eq!((lines.lines().count(), lines.lines().last()), (8, Some("{\"a\":0.3,\"b\":7}")));
    let output = quiet(rig.cli.run(&["map", "monte_carlo_pi", "--grid", "samples=1000", "--grid", "seed=1..3"]));
    assert_eq!(output.lines().count(), 3);
    // A list may hold anything.
    let output = quiet(rig.cli.run(&["map", "text.word_count", "--grid", r#"text=a,"b, b",7"#]));
    assert_eq!(output, "{\"a\":1}\n{\"b\":2}\n{\"7\":1}\n");
}

#[test]
fn a_grid_that_makes_no_sense_is_refused() {
    let rig = Rig::start();
    for (axes, fragments) in [
        (&["n=0:1:0"][..], &["n=0:1:0", "step 0"][..]),
        (&["n=1:0:0.1"], &["leads away"]),
        (&["n=9..1"], &["9 is above 1", "9:1:-1"]),
        (&["n=0:NaN:1"], &["NaN", "no number"]),
        (&["n"], &["NAME=VALUES"]),
        (&["n=1..3", "n=4"], &["--grid n occurs twice"]),
        (&["a=1..9007199254740992", "b=1,2"], &["2^53"]),
        (&["a=1,2", "b=1,2"], &["--grid: ", "one value", "a, b"]),
    ] {
        let args = axes.iter().flat_map(|axis| ["--grid", axis]);
        let args: Vec<&str> = ["map", "square"].into_iter().chain(args).collect();
        assert_says(&error(&rig.cli.run(&args), 2), fragments);
    }
    assert_eq!(rig.cli.run(&["map", "square", "--grid", "n=1", "--input", "x.csv"]).code, 2);
    let line = error(&rig.cli.run(&["map", "square", "--grid", "n=1..3,x", "--check"]), 2);
    assert_says(&line, &["point 4: ", "nothing was submitted"]);
}

#[test]
fn an_endless_grid_takes_no_memory_and_can_be_left() {
    let mut rig = Rig::start();
    let failed = path(&mut rig, "failed.jsonl").to_str().unwrap().to_owned();
    let args = ["map", "sleep", "--grid", "n=-1:9007199254740990:1", "--max-failures", "1", "--failed", &failed];
    let output = rig.cli.run(&args);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert_says(&output.stderr, &["ended after 1 failure", "points of the grid were not begun"]);
}

#[test]
fn results_become_a_table_with_their_arguments() {
    let mut rig = Rig::start();
    let table = path(&mut rig, "sweep.csv").to_str().unwrap().to_owned();
    let grid = ["--grid", "samples=1000,0", "--grid", "seed=1,2", "--with-args"];
    let output = rig.cli.run(&[&["map", "monte_carlo_pi", "--output", &table][..], &grid].concat());
    assert_says(&error(&output, 1), &["2 of 4 points", "point 3: failed: cannot draw 0 samples"]);
    let text = read(&table);
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows[0], "index,id,samples,seed,value.samples,hits,error_kind,error");
    let columns: Vec<&str> = rows[2].split(',').collect();
    assert_eq!((columns[0], columns[2], columns[3], columns[4], columns[6]), ("1", "1000", "2", "1000", ""));
    assert!(rows[4].starts_with("3,") && rows[4].contains(",0,2,,,failed,"), "{}", rows[4]);
    let output = quiet(rig.cli.run(&["map", "square", "--grid", "n=3", "--with-args"]));
    let line = &json_lines(&output)[0];
    assert_eq!((&line["args"], &line["value"]), (&serde_json::json!({ "n": 3 }), &9.into()));
    let output = quiet(rig.cli.run_with(&["map", "square", "--with-args", "--unordered"], "5\n"));
    assert_eq!(json_lines(&output)[0]["args"], 5);
    let output = quiet(rig.cli.run_with(&["map", "square", "--output-format", "tsv", "--with-args"], "5\n"));
    assert!(output.starts_with("index\tid\targs\tvalue\terror_kind\terror\n0\t"), "{output}");
    assert!(output.ends_with("\t5\t25\t\t\n"), "{output}");
}

#[test]
fn what_comes_out_can_go_in_again() {
    let rig = Rig::start();
    // Commas, quotes, line ends; a text that is empty, and nothing.
    let odd = "\"a\\\"b\"\n\"x,y\"\n\"two\\nlines\"\n\"\"\n7\nnull\n{\"k\":[1,\"z\"]}\n";
    let table = quiet(rig.cli.run_with(&["map", "echo", "--output-format", "csv"], odd));
    let mut rows = table.lines();
    assert_eq!(rows.next(), Some("index,id,value,error_kind,error"));
    let again = quiet(rig.cli.run_with(&["map", "echo", "--input-format", "csv", "--records"], &table));
    let values: Vec<_> = json_lines(&again).iter().map(|line| line["value"]["value"].clone()).collect();
    let wanted = serde_json::json!(["a\"b", "x,y", "two\nlines", null, 7, null, "{\"k\":[1,\"z\"]}"]);
    assert_eq!(serde_json::Value::from(values), wanted);
}

#[test]
fn the_rows_that_failed_run_again() {
    let mut rig = Rig::start();
    let failed = path(&mut rig, "failed.csv").to_str().unwrap().to_owned();
    let text = "samples,seed\n10,1\n0,\"2\"\nx,3\n10,4\n0,5\n1,2,3\n";
    let input = file(&mut rig, "input.csv", text);
    let args = ["map", "monte_carlo_pi", "-i", &input, "--failed", &failed, "--keep-going", "--records"];
    let output = rig.cli.run(&args);
    assert_says(&error(&output, 1), &["4 of 6 rows"]);
    let index: Vec<_> = json_lines(&output.stdout).iter().map(|line| line["index"].as_u64()).collect();
    assert_eq!(index, (0..6).map(Some).collect::<Vec<_>>());
    assert_eq!(read(&failed), "samples,seed\n0,2\nx,3\n0,5\n1,2,3\n");
    // Somebody repairs it, and the same command goes on with that.
    let repaired = read(&failed).replace("\n0,", "\n10,").replace("x,", "10,").replace("1,2,3", "1,2");
    let input = file(&mut rig, "again.csv", repaired);
    let output = quiet(rig.cli.run(&["map", "monte_carlo_pi", "-i", &input, "--failed", &failed]));
    assert_eq!((output.lines().count(), read(&failed).as_str()), (4, ""));
    let output = rig.cli.run_with(&["map", "square", "--failed", &failed, "--unordered"], "1\n\"x\"\n2\n  \"y\"\n");
    // What does not fit the kernel ends the reading.
    assert_eq!((output.code, read(&failed)), (2, "\"x\"\n".to_owned()));
    assert_eq!(rig.cli.run(&["map", "square", "-i", &input, "--failed", &input]).code, 2);
}

#[test]
fn points_of_a_grid_that_failed_become_the_table_that_the_name_says() {
    let mut rig = Rig::start();
    for (name, header) in [("failed.csv", "samples,seed\n"), ("failed.tsv", "samples\tseed\n")] {
        let failed = path(&mut rig, name).to_str().unwrap().to_owned();
        let grid = ["--grid", "samples=10,0", "--grid", "seed=1..2", "--failed", &failed];
        assert_eq!(rig.cli.run(&[&["map", "monte_carlo_pi"], &grid[..]].concat()).code, 1);
        let rows =
            header.replace("samples", "0").replace("seed", "1") + &header.replace("samples", "0").replace("seed", "2");
        assert_eq!(read(&failed), format!("{header}{rows}"));
        let output = rig.cli.run(&["map", "monte_carlo_pi", "-i", &failed]);
        assert_eq!((output.code, output.stdout.lines().count()), (1, 2), "{}", output.stderr);
    }
}

#[test]
fn what_a_bad_line_leaves_is_for_another_run() {
    let mut rig = Rig::start();
    let failed = path(&mut rig, "failed.jsonl").to_str().unwrap().to_owned();
    let input = file(&mut rig, "input.jsonl", "1\n2\nthree\n4\nfive");
    let output = rig.cli.run(&["map", "square", "-i", &input, "--failed", &failed]);
    assert_says(&error(&output, 2), &["line 3"]);
    assert_eq!((output.stdout.as_str(), read(&failed).as_str()), ("1\n4\n", "three\n4\nfive\n"));
}

#[test]
fn enough_failures_end_a_map() {
    let mut rig = Rig::start();
    let failed = path(&mut rig, "failed.jsonl").to_str().unwrap().to_owned();
    // Fewer failures than that are only failures.
    let output = rig.cli.run_with(&["map", "sleep", "--max-failures", "2"], "-1\n0\n");
    assert_says(&error(&output, 1), &["1 of 2 lines did not succeed"]);
    assert_eq!(rig.cli.run_with(&["map", "square", "--max-failures", "0"], "1\n").code, 2);
    let input = file(&mut rig, "input.jsonl", ["0\n".repeat(3), "-1\n".repeat(3), "1\n".repeat(60)].concat());
    let args = ["map", "sleep", "-i", &input, "--failed", &failed, "--max-failures", "2", "--chunk", "1"];
    let output = rig.cli.run(&args);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert_says(&output.stderr, &["cancelled what had not started", "ended after 2 failures", "line 4"]);
    let (written, done) = (read(&failed), json_lines(&output.stdout).iter().filter(|line| line.is_null()).count());
    assert_eq!(written.matches("-1\n").count(), 3, "{written}");
    // Some of the slow ones may have run meanwhile; all others are for another run.
    assert!((3..10).contains(&done) && written.lines().count() == 66 - done, "{done}: {written}");
}

#[test]
fn what_an_interrupt_leaves_is_for_another_run() {
    let mut rig = Rig::start();
    let failed = path(&mut rig, "failed.csv").to_str().unwrap().to_owned();
    let rows: String = (0..3_000).map(|row| format!("{}\n", if row < 2 { "0.0" } else { "600" })).collect();
    let input = file(&mut rig, "input.csv", format!("seconds\n{rows}"));
    let table = path(&mut rig, "output.tsv").to_str().unwrap().to_owned();
    let command = rig.cli.spawn(&["map", "sleep", "-i", &input, "--failed", &failed, "-o", &table]);
    eventually("two results", || (read_some(&table).lines().count() == 3).then_some(()));
    command.signal(Signal::SIGINT);
    let output = command.wait();
    assert_eq!(output.code, 130, "{}", output.stderr);
    assert_eq!(read(&table).lines().count(), 3);
    assert_eq!(read(&failed), format!("seconds\n{}", "600\n".repeat(2_998)));
}

#[test]
fn of_a_pipe_what_was_read_is_for_another_run() {
    let mut rig = Rig::start();
    let failed = path(&mut rig, "failed.jsonl").to_str().unwrap().to_owned();
    let mut command = rig.cli.spawn(&["map", "sleep", "--failed", &failed, "--keep-going"]);
    command.write("0\n600\nx\n  600 \n");
    eventually("a task has ended", || {
        let key = rig.redis.matching("{gm}:batch:*").into_iter().find(|key| !key.is_empty())?;
        rig.redis.command::<Option<u64>>(&format!("HGET {key} succeeded"))
    });
    command.signal(Signal::SIGINT);
    // Its stdin stays open: nobody knows whether more would come.
    eventually("the rows", || (read_some(&failed).lines().count() >= 3).then_some(()));
    let output = command.wait();
    assert_eq!(output.code, 130, "{}", output.stderr);
    assert_says(&output.stderr, &["what was not read of the input is not in", &failed]);
    let rows: Vec<String> = read(&failed).lines().map(str::to_owned).collect();
    assert!(
        rows.iter().filter(|row| row.trim() == "600").count() == 2 && rows.iter().any(|row| row == "x"),
        "{rows:?}"
    );
}

#[test]
fn a_table_that_was_interrupted_goes_on_below_its_header() {
    let mut rig = Rig::start();
    let (table, failed) = (path(&mut rig, "out.csv"), path(&mut rig, "failed.csv"));
    let (table, failed) = (table.to_str().unwrap().to_owned(), failed.to_str().unwrap().to_owned());
    // The first rows fail, and say nothing of the columns.
    let samples = |row: u64| if row < 3 || row % 50 == 20 { 0 } else { 30_000 };
    let rows: String = (0..400).map(|row| format!("{},{row}\n", samples(row))).collect();
    let input = file(&mut rig, "input.csv", format!("samples,seed\n{rows}"));
    let args = ["map", "monte_carlo_pi", "-i", &input, "-o", &table, "--failed", &failed, "--with-args"];
    let resume = [&args[..], &["--resume"]].concat();
    for (args, signal) in [(&args[..], Signal::SIGKILL), (&resume[..], Signal::SIGINT)] {
        let before = read_some(&table).lines().count();
        let command = rig.cli.spawn(args);
        eventually("some rows", || (read_some(&table).lines().count() >= before + 20).then_some(()));
        command.signal(signal);
        assert_eq!(command.wait().code, 128 + signal as i32);
    }
    assert!(read(&table).lines().count() < 401, "it was too fast to be interrupted");
    let output = rig.cli.run(&resume);
    assert_eq!(output.code, 1, "{}", output.stderr);
    let text = read(&table);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("index,id,samples,seed,value.samples,hits,error_kind,error"));
    for row in 0..400 {
        let cells: Vec<&str> = lines.next().unwrap().split(',').collect();
        let (kind, samples) = if samples(row) == 0 { ("failed", "") } else { ("", "30000") };
        assert_eq!((cells[0], cells[3], cells[4], cells[6]), (&*row.to_string(), cells[0], samples, kind));
    }
    assert_eq!(lines.next(), None);
    assert_eq!(read(&failed).lines().count() as u64, 1 + (0..400).filter(|row| samples(*row) == 0).count() as u64);
}

/// The file may not be there yet.
fn read_some(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
