//! Passwords: wrong ones, missing ones, and that none is ever shown.

use std::time::{Duration, Instant};

use gristmill_integration_tests::{Cli, Redis};

use crate::bare_worker::BareWorker;
use crate::rig::{assert_for_people, assert_says, error, quiet};

const RIGHT: &str = "right-secret";
const WRONG: &str = "wrong-secret";
/// A refusal that will not change is final at once.
const AT_ONCE: Duration = Duration::from_secs(3);

fn guarded() -> Redis {
    let mut redis = Redis::start();
    redis.command::<()>(&format!("CONFIG SET requirepass {RIGHT}"));
    redis
}

fn with_password(redis: &Redis, password: &str) -> String {
    format!("{}?pass={password}", redis.url())
}

fn assert_hidden(text: &str) {
    for password in [RIGHT, WRONG] {
        assert!(!text.contains(password), "a password is shown: {text}");
    }
}

#[test]
fn the_command_line_says_what_is_wrong_with_a_password() {
    let redis = guarded();
    let began = Instant::now();
    let output = Cli::at(&with_password(&redis, WRONG)).run(&["kernels"]);
    assert_says(&error(&output, 3), &["refuses the user or the password"]);
    assert_hidden(&output.stderr);
    let output = Cli::new(&redis).run(&["kernels"]);
    assert_says(&error(&output, 3), &["demands a password", "GRISTMILL_REDIS"]);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(quiet(Cli::at(&with_password(&redis, RIGHT)).run(&["kernels", "--json"])), "[]\n");
}

#[test]
fn a_password_on_the_command_line_draws_a_warning() {
    let redis = guarded();
    let (right, wrong) = (with_password(&redis, RIGHT), with_password(&redis, WRONG));
    let cli = Cli::at("redis://127.0.0.1:1").variable("GRISTMILL_LOG", "debug");
    let output = cli.run(&["--redis", &right, "queues", "--json"]);
    assert_says(&output.stderr, &["warning", "password on the command line", "GRISTMILL_REDIS"]);
    assert_hidden(&output.stderr);
    assert_eq!(output.ok(), "[]\n");
    let output = cli.run(&["queues", &format!("--redis={wrong}")]);
    assert_says(&output.stderr, &["password on the command line"]);
    assert_says(&error(&output, 3), &["refuses the user or the password"]);
    assert_hidden(&output.stderr);
}

#[test]
fn a_url_that_makes_no_sense_does_not_show_its_password() {
    for url in [format!("http://:{WRONG}@host"), format!("redis://host:x{WRONG}"), format!("rediss://:{WRONG}@host")] {
        let output = Cli::at(&url).run(&["queues"]);
        error(&output, 2);
        if url.contains('@') {
            assert_hidden(&output.stderr);
        }
        let (code, said) = BareWorker::start(&url, &[]).wait();
        assert_eq!(code, 2, "{said:?}");
        if url.contains('@') {
            assert_hidden(&said.join("\n"));
        }
    }
}

#[test]
fn a_worker_with_a_wrong_password_ends_at_once() {
    let redis = guarded();
    for url in [with_password(&redis, WRONG), redis.url()] {
        let began = Instant::now();
        let (code, said) = BareWorker::start(&url, &[]).wait();
        let text = said.join("\n");
        assert_eq!(code, 3, "{text}");
        assert!(began.elapsed() < AT_ONCE, "{:?}: {text}", began.elapsed());
        assert_says(&text, &["gristmill-worker: ", "password"]);
        assert_hidden(&text);
        assert_for_people(&text);
    }
}

#[test]
fn a_worker_never_logs_its_password() {
    let redis = guarded();
    let url = with_password(&redis, RIGHT);
    let cli = Cli::at(&url);
    let worker = BareWorker::start("redis://127.0.0.1:1", &["--redis", &url]);
    let output = cli.run(&["submit", "square", "7", "--wait"]);
    assert_eq!(output.ok(), "49\n");
    worker.terminate();
    let (code, said) = worker.wait();
    let text = said.join("\n");
    assert_eq!(code, 0, "{text}");
    assert_says(&text, &["a password on the command line is visible"]);
    assert_hidden(&text);
}
