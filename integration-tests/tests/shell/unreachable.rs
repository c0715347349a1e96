//! A Redis that is not there.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use gristmill_integration_tests::{Cli, Redis, eventually};

use crate::bare_worker::BareWorker;
use crate::rig::{assert_for_people, assert_says, error, quiet};

/// The command line tries for 5 s; a last attempt may take 3 s more to connect.
const PATIENCE: Duration = Duration::from_secs(9);

fn refused_within(cli: Cli, says: &'static [&'static str]) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let began = Instant::now();
        let output = cli.run(&["submit", "square", "7"]);
        let took = began.elapsed();
        assert!(took > Duration::from_secs(4) && took < PATIENCE, "{took:?}");
        assert_says(&error(&output, 3), says);
    })
}

#[test]
fn the_command_line_gives_up_after_five_seconds() {
    // One that accepts and never answers; one that nobody listens at; and no socket at all.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let closed = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let silent_url = format!("redis://{}", silent.local_addr().unwrap());
    let attempts = [
        refused_within(Cli::at(&silent_url), &["cannot reach Redis at redis://127.0.0.1:", "no answer"]),
        refused_within(Cli::at(&format!("redis://{closed}")), &["connection refused", "--redis URL"]),
        refused_within(Cli::at("redis+unix:///nowhere/redis.sock"), &["/nowhere/redis.sock", "no such socket"]),
    ];
    for attempt in attempts {
        attempt.join().unwrap();
    }
}

#[test]
fn a_worker_waits_for_redis_to_come() {
    let mut redis = Redis::start();
    redis.server().stop();
    let worker = BareWorker::start(&redis.url(), &[]);
    // Its processes are there; Redis is not.
    eventually("the worker has started", || worker.log.all(|line| line.text("text").contains("worker_started")).pop());
    redis.server().restart().unwrap();
    let cli = Cli::new(&redis);
    eventually("its kernels are known", || cli.run(&["kernels"]).ok().contains("square").then_some(()));
    assert_eq!(quiet(cli.run(&["submit", "square", "7", "--wait"])), "49\n");
    worker.terminate();
    let (code, said) = worker.wait();
    assert_eq!(code, 0, "{said:?}");
}

#[test]
fn a_worker_that_still_waits_for_redis_can_be_stopped() {
    let worker = BareWorker::start("redis+unix:///nowhere/redis.sock", &[]);
    eventually("the worker has started", || worker.log.all(|line| line.text("text").contains("worker_started")).pop());
    worker.terminate();
    let (code, said) = worker.wait();
    assert_eq!(code, 0, "{said:?}");
    assert_for_people(&said.join("\n"));
}

#[test]
fn a_worker_gives_up_on_a_redis_that_does_not_come() {
    let began = Instant::now();
    let worker = BareWorker::start("redis+unix:///nowhere/redis.sock", &["--reach", "2s"]);
    let (code, said) = worker.wait();
    assert_eq!(code, 3, "{said:?}");
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1_400) && took < PATIENCE, "{took:?}");
    let told: Vec<_> = said.iter().filter(|line| line.starts_with("gristmill-worker: ")).collect();
    assert_eq!(told.len(), 1, "{said:?}");
    assert_says(told[0], &["/nowhere/redis.sock", "no such socket"]);
}
