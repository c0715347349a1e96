//! Nobody reads what a command prints.

use std::io::{BufRead, BufReader, Write};

use crate::rig::{Rig, batch_of, command, end, piped};

/// Ended by the closed pipe, without a word.
const SILENT: (Option<i32>, String) = (Some(141), String::new());

#[test]
fn closed_before_the_first_line() {
    let rig = Rig::start();
    let id = rig.cli.run(&["submit", "square", "7"]).ok();
    let batch = batch_of(&id);
    let commands: [&[&str]; 8] = [
        &["kernels"],
        &["queues", "--json"],
        &["workers"],
        &["submit", "square", "7"],
        &["submit", "square", "7", "--wait"],
        &["results", batch, "--wait"],
        &["status", batch],
        &["--help"],
    ];
    for args in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = command(&rig.redis, args).stdout(writer).spawn().unwrap();
        assert_eq!(end(child), SILENT, "{args:?}");
    }
}

#[test]
fn closed_in_the_middle_of_a_map() {
    let rig = Rig::start();
    let mut child = piped(&rig.redis, &["map", "square"]);
    let mut stdin = child.stdin.take().unwrap();
    // Ends when the command does.
    let writer = std::thread::spawn(move || (0..1_000_000).map_while(|n| writeln!(stdin, "{n}").ok()).count());
    let mut line = String::new();
    BufReader::with_capacity(8, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "0\n");
    assert_eq!(end(child), SILENT);
    assert!(writer.join().unwrap() < 1_000_000);
}
