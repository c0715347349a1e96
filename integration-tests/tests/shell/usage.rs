//! Exit codes 2 and 5: what cannot be meant, and what is not there.

use gristmill_integration_tests::{Cli, Redis};

use crate::bare_worker::BareWorker;
use crate::rig::{Rig, assert_for_people, assert_says, batch_of, error};

const NOBODY: &str = "01990000-0000-7000-8000-000000000000";

#[test]
fn what_cannot_be_meant_is_refused() {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    let cases: [(&[&str], &str); 12] = [
        (&[], "subcommand"),
        (&["sbmit"], "sbmit"),
        (&["submit"], "KERNEL"),
        (&["submit", "no spaces", "1"], "no spaces"),
        (&["submit", "square", "1", "--queue", "UPPER"], "UPPER"),
        (&["submit", "square", "1", "--priority", "urgent"], "urgent"),
        (&["submit", "square", "1", "--timeout", "5s"], "--wait"),
        (&["submit", "square", "1", "--wait", "--timeout", "soon"], "soon"),
        (&["submit", "square", "1", "--retries", "many"], "--retries"),
        (&["status", "xyz"], "xyz"),
        (&["results", &NOBODY[1..]], &NOBODY[1..]),
        (&["cancel", "01990000-0000-7000-8000-000000000000.x"], "no id"),
    ];
    for (args, says) in cases {
        let output = cli.run(args);
        assert_eq!(output.stdout, "", "{args:?}");
        assert_says(&error(&output, 2), &[says]);
    }
    nothing_is_no_duration(&cli);
    assert_says(&error(&cli.run(&["--namespace", "GM", "queues"]), 2), &["\"GM\"", "namespace"]);
    assert_says(&error(&Cli::at("127.0.0.1:6379").run(&["queues"]), 2), &["127.0.0.1:6379", "no scheme"]);
    let cli = cli.variable("GRISTMILL_LOG_FORMAT", "xml");
    assert_says(&error(&cli.run(&["queues"]), 2), &["xml", "text or json"]);
}

fn nothing_is_no_duration(cli: &Cli) {
    let options = ["--time-limit", "--soft-time-limit", "--expires"];
    for option in options {
        for zero in ["0s", "0", "0.1ms"] {
            for args in [["submit", "square", "1", option, zero], ["map", "square", "--force", option, zero]] {
                assert_says(&error(&cli.run(&args), 2), &[option, zero, "too short: use 1ms or more"]);
            }
        }
    }
    let line = error(&cli.run(&["queues", "--watch", "--interval", "0s"]), 2);
    assert_says(&line, &["--interval", "0s", "too short"]);
}

#[test]
fn what_starts_its_own_redis_offers_no_other() {
    let cli = Cli::at("redis://127.0.0.1:1");
    for (command, offers) in [("dev", false), ("demo", false), ("queues", true)] {
        for help in ["--help", "-h"] {
            let text = cli.run(&[command, help]).ok();
            assert_eq!((text.contains("--redis"), text.contains("127.0.0.1:6379")), (offers, offers), "{text}");
            assert!(text.contains("--namespace"), "{text}");
        }
    }
    for command in ["man", "completions"] {
        let text = cli.run(&[command, "--help"]).ok();
        assert!(!text.contains("--redis") && !text.contains("--namespace"), "{text}");
    }
    let map = cli.run(&["map", "--help"]).ok();
    assert!(map.contains("3,fast,\"x,y\""), "{map}");
    let exec = cli.run(&["exec", "--help"]).ok();
    assert!(exec.contains("DIR/000001/stdout") && !exec.contains("--shared"), "{exec}");
}

#[test]
fn help_and_version_are_data() {
    let cli = Cli::at("redis://127.0.0.1:1");
    for args in [&["--help"][..], &["submit", "--help"], &["map", "-h"], &["--version"]] {
        let output = cli.run(args);
        assert_eq!(output.stderr, "");
        assert_says(&output.ok(), &["gristmill"]);
    }
}

#[test]
fn what_is_not_there_is_named() {
    let rig = Rig::start();
    let task = rig.cli.run(&["submit", "square", "7"]).ok();
    let beyond = format!("{}.1", batch_of(&task));
    let nothing = format!("{NOBODY}.0");
    let cases: [(&[&str], &str); 7] = [
        (&["results", NOBODY], NOBODY),
        (&["results", NOBODY, "--wait"], NOBODY),
        (&["status", NOBODY], NOBODY),
        (&["status", &nothing], NOBODY),
        (&["status", &beyond], &beyond),
        (&["cancel", NOBODY], NOBODY),
        (&["cancel", &nothing], NOBODY),
    ];
    for (args, says) in cases {
        let output = rig.cli.run(args);
        assert_eq!(output.stdout, "", "{args:?}");
        assert_says(&error(&output, 5), &[says]);
    }
}

#[test]
fn a_worker_names_all_that_is_wrong() {
    let args = ["--queues", "a,a", "--lease", "soon", "--namespace", "GM"];
    let (code, said) = BareWorker::start("redis://127.0.0.1:1", &args).wait();
    assert_eq!(code, 2, "{said:?}");
    assert_eq!(said.len(), 3, "{said:?}");
    assert_says(&said.join("\n"), &["a twice", "--lease is \"soon\"", "\"GM\""]);
    assert_for_people(&said.join("\n"));
}
