//! The password of Redis changes while everybody works.

use std::time::Duration;

use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};
use gristmill_shared::events;

use crate::scene::BACK_WITHIN;

#[test]
fn a_worker_that_has_worked_waits_for_its_password_to_be_right_again() {
    let mut redis = Redis::start();
    let mut worker = WorkerOptions::new().start(&redis);
    let cli = Cli::new(&redis);
    assert_eq!(cli.run(&["submit", "square", "7", "--wait", "--force"]).ok(), "49\n");
    let mut operator = redis.connect();
    redis.command::<()>("CONFIG SET requirepass other");
    // Connections that stand go on; new ones are refused.
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).exec(&mut operator).unwrap();
    let refused = cli.run(&["submit", "square", "8", "--force"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("demands a password") && refused.stderr.lines().count() == 1, "{}", refused.stderr);
    let wrong = Cli::at(&format!("{}?pass=wrong", redis.url())).run(&["queues"]);
    assert_eq!(wrong.code, 3, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("refuses the user or the password"), "{}", wrong.stderr);
    eventually("the worker is refused", || {
        worker
            .log
            .events(events::REDIS_DISCONNECTED)
            .iter()
            .any(|line| line.text("error").contains("password"))
            .then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    redis::cmd("CONFIG").arg(&["SET", "requirepass", ""]).exec(&mut operator).unwrap();
    let back = std::time::Instant::now();
    assert_eq!(cli.run(&["submit", "square", "9", "--wait"]).ok(), "81\n");
    assert!(back.elapsed() < BACK_WITHIN, "{:?}", back.elapsed());
    assert_eq!(worker.drain().code(), Some(0));
    assert!(worker.log.events(events::CONSUMER_DIED).is_empty(), "{}", worker.log.tail());
}
