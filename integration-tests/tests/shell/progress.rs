//! What a terminal shows while a command takes its time, and that nothing of it is left, or reaches the data.

use std::io::Read;
use std::process::{Command, Stdio};

use gristmill_integration_tests::{Redis, WorkerOptions, binaries};

use crate::rig::{Rig, assert_says, batch_of, quiet};

/// Runs a command of the shell on a terminal of its own; returns all that the terminal got.
fn on_terminal(redis: &Redis, command: &str) -> String {
    watched_on_terminal(redis, command, |_| {})
}

/// The same; `watch` is shown all that the terminal got so far, whenever it got something.
fn watched_on_terminal(redis: &Redis, command: &str, watch: impl FnMut(&str)) -> String {
    typed_on_terminal(redis, command, Stdio::null(), watch)
}

/// The same with what somebody types.
fn typed_on_terminal(redis: &Redis, command: &str, typed: Stdio, mut watch: impl FnMut(&str)) -> String {
    let program = binaries::find("gristmill");
    let command = command.replace("gristmill", &program.display().to_string());
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"])
        .env("GRISTMILL_REDIS", redis.url())
        .env("TERM", "xterm")
        .env_remove("GRISTMILL_LOG")
        .stdin(typed)
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of the package bsdutils");
    let (mut got, mut part) = (Vec::new(), [0; 4096]);
    let mut stdout = child.stdout.take().unwrap();
    while let Ok(bytes @ 1..) = stdout.read(&mut part) {
        got.extend_from_slice(&part[..bytes]);
        watch(&String::from_utf8_lossy(&got));
    }
    let text = String::from_utf8_lossy(&got).into_owned();
    assert!(child.wait().unwrap().success(), "{command}: {text}");
    text
}

/// What a terminal shows in the end of what it got: enough of one to tell lines that were cleared from those that stay.
fn screen(text: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![String::new()], 0_usize, 0);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                column = 0;
            }
            '\x1b' => {
                let sequence: String = std::iter::from_fn(|| chars.next_if(|c| !c.is_ascii_alphabetic())).collect();
                let count = sequence.trim_start_matches(['[', '?']).parse().unwrap_or(1);
                match chars.next() {
                    Some('A') => row = row.saturating_sub(count),
                    Some('B') => row += count,
                    Some('K') if sequence.ends_with('2') => lines[row].clear(),
                    Some('K') => lines[row] = lines[row].chars().take(column).collect(),
                    Some('J') => {
                        lines.truncate(row + 1);
                        lines[row] = lines[row].chars().take(column).collect();
                    }
                    _ => {}
                }
            }
            c => {
                let mut cells: Vec<char> = lines[row].chars().collect();
                cells.resize(cells.len().max(column + 1), ' ');
                cells[column] = c;
                lines[row] = cells.into_iter().collect();
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), String::new());
    }
    lines.iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn rig() -> Rig {
    Rig::with(WorkerOptions::new().consumers(2))
}

#[test]
fn a_map_shows_how_far_it_is_and_leaves_nothing_behind() {
    let rig = rig();
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).display().to_string();
    let (input, output) = (path("in"), path("out"));
    std::fs::write(&input, "0.05\n".repeat(40) + "\n\n").unwrap();
    let text = on_terminal(&rig.redis, &format!("gristmill map sleep --input {input} --output {output} --summary"));
    assert_says(&text, &[" of 40 results", "/s", " left", "[", "40 succeeded"]);
    let shown = screen(&text);
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(shown[0].starts_with("gristmill: 40 tasks in "), "{shown:?}");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "null\n".repeat(40));

    // The number of lines of a pipe is not known before its end.
    let slow = "for n in 1 2 3 4 5 6; do echo $n; sleep 0.1; done | gristmill map square";
    let text = on_terminal(&rig.redis, &format!("sh -c '({slow}) > {output}'"));
    assert_says(&text, &[" results, ", "/s"]);
    assert_eq!(screen(&text), [""; 0]);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "1\n4\n9\n16\n25\n36\n");
}

#[test]
fn who_types_the_rows_is_told_and_sees_what_they_type() {
    let rig = rig();
    let typed = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(typed.path(), "0.5\n").unwrap();
    for command in ["gristmill map sleep", "gristmill exec -a - --dry-run -- echo"] {
        let text = typed_on_terminal(&rig.redis, command, typed.reopen().unwrap().into(), |_| {});
        assert_says(&text, &["gristmill: reading rows from the terminal, end with Ctrl-D"]);
        assert!(!text.contains(" results") && !text.contains("\x1b["), "{text:?}");
    }
}

#[test]
fn the_bar_counts_what_running_tasks_tell() {
    let rig = Rig::with(WorkerOptions::new().program(binaries::find("stateful-worker")).consumers(2));
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).display().to_string();
    let (input, output, until) = (path("in"), path("out"), path("until"));
    std::fs::write(&input, format!("[425, \"{until}\"]\n").repeat(2)).unwrap();
    let command = |command: &str| format!("timeout 40 gristmill {command} --output {output}");
    let mut before = None;
    // Both are at 42.5 %, and so is the bar of 20 signs.
    let is_told = |text: &str| {
        let lines: Vec<&str> = text.split(['\r', '\n']).collect();
        lines.iter().any(|line| {
            line.contains("========> ") && line.contains(" 0 of 2 results, ") && line.contains(", 42% step")
        })
    };
    let map = command(&format!("map steps --chunk 1 --input {input}"));
    let text = watched_on_terminal(&rig.redis, &map, |text| {
        if before.is_none() && is_told(text) {
            before = Some(text.to_owned());
            std::fs::write(&until, "").unwrap();
        }
    });
    let before = before.unwrap_or_else(|| panic!("what runs is not told: {text}"));
    assert!(!before.contains(" left") && !before.contains("/s"), "nothing has ended: {before}");
    assert_eq!(screen(&text), [""; 0]);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "425\n425\n");

    std::fs::remove_file(&until).unwrap();
    let detached = quiet(rig.cli.run(&["map", "steps", "--chunk", "1", "--input", &input, "--detach"]));
    let text = watched_on_terminal(&rig.redis, &command(&format!("results {} --wait", detached.trim())), |text| {
        if is_told(text) {
            std::fs::write(&until, "").unwrap();
        }
    });
    assert!(is_told(&text), "{text}");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "425\n425\n");
}

#[test]
fn results_on_the_same_terminal_stay_whole() {
    let rig = rig();
    let files = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = (0..60).map(|n| format!("{{\"n\":{n}}}")).collect();
    let mut input = lines.join("\n");
    input += "\n";
    std::fs::write(files.path(), input).unwrap();
    let text = on_terminal(&rig.redis, &format!("gristmill map echo --chunk 1 --input {}", files.path().display()));
    assert_eq!(screen(&text), lines);
    // Slow enough that the line is drawn in between.
    std::fs::write(files.path(), "0.1\n".repeat(20)).unwrap();
    let text = on_terminal(&rig.redis, &format!("gristmill map sleep --input {}", files.path().display()));
    assert_says(&text, &[" of 20 results"]);
    assert_eq!(screen(&text), ["null"; 20]);
}

#[test]
fn waiting_for_results_shows_how_many_are_there() {
    let rig = rig();
    let input = "0.05\n".repeat(30);
    let map = rig.cli.run_with(&["map", "sleep", "--timeout", "200ms"], &input);
    let batch = map.stderr.split('`').nth(1).unwrap().rsplit(' ').next().unwrap();
    let text = on_terminal(&rig.redis, &format!("gristmill results {batch} --wait"));
    assert_says(&text, &[" of 30 results", "/s"]);
    assert_eq!(screen(&text), ["null"; 30]);
}

#[test]
fn a_single_task_tells_what_it_does() {
    let rig = rig();
    let text = on_terminal(&rig.redis, "gristmill submit sleep 6 --wait");
    assert_says(&text, &["waiting, ", "running on "]);
    assert_eq!(screen(&text), ["null"]);
    // Into a pipe goes nothing but data.
    let id = quiet(rig.cli.run(&["submit", "square", "7"]));
    assert_eq!(quiet(rig.cli.run(&["results", batch_of(&id), "--wait"])), "49\n");
}

#[test]
fn a_watch_draws_its_table_anew() {
    let rig = rig();
    quiet(rig.cli.run(&["submit", "square", "7", "--wait"]));
    let watch = "gristmill queues --watch --interval 100ms";
    let text = on_terminal(&rig.redis, &format!("sh -c 'timeout --preserve-status -s INT 1 {watch}; test $? = 130'"));
    assert!(text.matches("EMPTY IN").count() > 3, "{text}");
    let shown = screen(&text);
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[1].starts_with("default"), "{shown:?}");
}

#[test]
fn a_question_is_asked_on_a_terminal() {
    let rig = rig();
    quiet(rig.cli.run(&["submit", "square", "7", "--delay", "1h"]));
    quiet(rig.cli.run(&["submit", "square", "7", "--wait"]));
    let _paused = rig.cli.run(&["queue", "pause", "default"]);
    quiet(rig.cli.run(&["submit", "square", "7"]));
    // The end of input is no consent.
    let text = on_terminal(&rig.redis, "gristmill queue purge default");
    assert_says(&text, &["Remove 1 waiting message from the queue", "[y/N]", "nothing was removed"]);
}
