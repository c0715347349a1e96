//! The tables: what each row shows stands in a program that is run here, or is run as it stands.

use std::collections::BTreeSet;

use gristmill_integration_tests::Redis;

use crate::page::{codes, packed, sections, sources};
use crate::shell::Shell;
use crate::{Outcome, Scene};

#[test]
fn all_rust_of_the_page_is_compiled_and_run() {
    let sources = sources();
    let (mut rows, mut blocks) = (0, 0);
    for section in sections() {
        // A table of two columns has no Rust.
        for row in section.rows.iter().filter(|row| row.len() != 2) {
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
    text("printf '0.3\\n0.3\\n' > naps.jsonl; printf '[\"a\", 0]\\n[\"b\", 9]\\n' > jobs.jsonl")?;
    text("printf 'a\\nb\\n' > jobs.txt; printf 'size,seed\\nsmall,1\\nlarge,2\\n' > jobs.csv; echo text > in.txt")?;
    text("until gristmill kernels --json | grep -q square; do sleep 0.05; done")?;
    // What a row may speak of: a task and batches that have ended, one of them with a failure, and a batch that waits.
    let before = "gristmill submit square 7 --wait > /dev/null
                  gristmill submit square 7 > id
                  gristmill map square --input items.jsonl --detach > batch
                  gristmill results $(cat batch) --wait > results.jsonl
                  gristmill map fail --input jobs.jsonl --detach > failed";
    text(before)?;
    let (mut wrong, mut count) = (Vec::new(), 0);
    for row in sections().iter().flat_map(|section| &section.rows) {
        let cell = row.last().unwrap();
        for code in codes(cell).into_iter().filter(|code| code.starts_with("gristmill ")) {
            let expected = cell.split("(exit ").nth(1).map_or(0, |rest| rest[..1].parse().unwrap());
            let waits = "waiting=$(gristmill map square --input items.jsonl --delay 1h --detach)";
            let waits = if code.contains("$waiting") { waits } else { "" };
            let ended = shell.run(&format!("id=$(cat id) batch=$(cat batch) failed=$(cat failed)\n{waits}\n{code}"));
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

/// Each worker that a table starts, alone on a Redis, does its tasks and what its flags say.
#[test]
fn each_worker_in_a_table_works() {
    let redis = Redis::start();
    let shell = Shell::new(&redis.url());
    let sections = sections();
    let cells = sections.iter().flat_map(|section| &section.rows).filter_map(|row| row.last());
    let codes: BTreeSet<&str> = cells.flat_map(|cell| codes(cell)).collect();
    let (mut recycled, mut count) = (0, 0);
    for code in codes.into_iter().filter(|code| code.starts_with("gristmill-worker ")) {
        let script = format!(
            "export GRISTMILL_NAMESPACE=table-{count} GRISTMILL_LOG=debug
             {code} --log-format json 2> worker.log & worker=$!
             trap 'kill $worker; wait $worker' EXIT
             until gristmill workers --json | grep -q consumers; do sleep 0.05; done
             until gristmill kernels --json | grep -q square; do sleep 0.05; done
             gristmill workers --json > workers.json
             seq 1 250 | gristmill map square --chunk 1 | tail -n 1"
        );
        let said = shell.run(&script).unwrap_or_else(|(exit, said)| panic!("{code}: exit {exit}: {said}"));
        assert_eq!(said, "62500\n", "{code}");
        let workers: serde_json::Value = serde_json::from_str(&shell.run("cat workers.json").unwrap()).unwrap();
        let wanted = code.split(" --consumers ").nth(1).map(|rest| rest.split(' ').next().unwrap());
        if let Some(wanted) = wanted {
            assert_eq!(workers[0]["consumers"].to_string().trim_matches('"'), wanted, "{code}");
        }
        if code.contains("--max-tasks-per-consumer") {
            let log = shell.run("grep -c consumer_recycled worker.log || true").unwrap();
            recycled += log.trim().parse::<u64>().unwrap();
        }
        count += 1;
    }
    assert!(count >= 3, "{count} workers");
    assert!(recycled > 0, "no consumer made room for another");
}
