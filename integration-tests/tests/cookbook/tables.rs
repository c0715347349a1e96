//! The tables: what each row shows stands in a program that is run here, or is run as it stands.

use std::process::Command;

use gristmill_integration_tests::binaries;

use crate::page::{codes, packed, sections, sources};
use crate::shell::{Shell, path_variable};
use crate::{Outcome, Scene};

#[test]
fn all_rust_of_the_page_is_compiled_and_run() {
    let sources = sources();
    let (mut rows, mut blocks) = (0, 0);
    for section in sections() {
        for row in &section.rows {
            let [theirs, ours, _] = row.as_slice() else { panic!("{row:?} has not three cells") };
            let shown = codes(ours);
            assert!(!shown.is_empty() || ours.starts_with("none: "), "{theirs}: nothing is shown");
            for code in shown {
                assert!(sources.contains(&packed(code)), "{theirs}: no program has {code}");
            }
            rows += 1;
        }
        for block in section.blocks.iter().filter(|block| block.language == "rust") {
            assert!(sources.contains(&packed(&block.text)), "{}: no program has\n{}", section.title, block.text);
            blocks += 1;
        }
    }
    assert!(rows > 50 && blocks > 3, "{rows} rows, {blocks} blocks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_in_a_table_ends_as_it_says() -> Outcome {
    let scene = Scene::start().await;
    let shell = Shell::new(&scene.redis.url());
    let text = |from: &str| shell.run(from).map_err(|(code, said)| format!("{from}: {code}, {said}"));
    text("seq 1 100 > items.jsonl; printf '[1000, 1]\\n[1000, 2]\\n' > pairs.jsonl")?;
    text("printf '0.3\\n0.3\\n' > naps.jsonl")?;
    text("until gristmill kernels --json | grep -q square; do sleep 0.05; done")?;
    // What a row may speak of: a task and a batch that have ended, and a batch that waits.
    let before = "gristmill submit square 7 --wait > /dev/null
                  gristmill submit square 7 > id
                  gristmill map square --input items.jsonl --detach > batch
                  gristmill results $(cat batch) --wait > results.jsonl";
    text(before)?;
    let (mut wrong, mut count) = (Vec::new(), 0);
    for row in sections().iter().flat_map(|section| &section.rows) {
        let cell = &row[2];
        for code in codes(cell).into_iter().filter(|code| code.starts_with("gristmill ")) {
            let expected = cell.split("(exit ").nth(1).map_or(0, |rest| rest[..1].parse().unwrap());
            let waits = "waiting=$(gristmill map square --input items.jsonl --delay 1h --detach)";
            let waits = if code.contains("$waiting") { waits } else { "" };
            let ended = shell.run(&format!("id=$(cat id) batch=$(cat batch)\n{waits}\n{code}"));
            let (found, said) = ended.map_or_else(|wrong| wrong, |said| (0, said));
            if found != expected {
                wrong.push(format!("{code}: exit {found} instead of {expected}: {said}"));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 30, "{count} commands");
    Ok(())
}

/// Programs that a worker offers are started with flags: those that the tables name exist.
#[test]
fn each_flag_of_a_worker_exists() {
    let help = Command::new(binaries::find("gristmill-worker")).arg("--help").env("PATH", path_variable()).output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    for row in sections().iter().flat_map(|section| &section.rows) {
        for code in codes(&row[2]).into_iter().filter(|code| code.starts_with("gristmill-worker ")) {
            for flag in code.split_whitespace().filter(|word| word.starts_with("--")) {
                assert!(help.contains(flag), "{code}: no {flag}");
            }
        }
    }
}
