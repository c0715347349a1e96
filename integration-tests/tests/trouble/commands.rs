//! The command line while Redis is in trouble: each result once, and an exit code that says that all is well.

use std::time::Duration;

use gristmill_integration_tests::{Cli, FaultProxy, Redis, WorkerOptions, eventually};

#[test]
fn commands_that_wait_come_through() {
    let mut redis = Redis::durable();
    let proxy = FaultProxy::start(&redis.url());
    let mut worker = WorkerOptions::new().consumers(2).start_at(&proxy.url());
    let cli = Cli::at(&proxy.url());
    eventually("the kernels are listed", || cli.run(&["kernels"]).stdout.contains("square").then_some(()));
    let mut map = cli.spawn(&["map", "square"]);
    let task = cli.spawn(&["submit", "sleep", "6", "--wait"]);
    let id = cli.run(&["submit", "sleep", "6"]).ok();
    let results = cli.spawn(&["results", id.trim().split('.').next().unwrap(), "--wait"]);
    (0..10).for_each(|n| map.write(&format!("{n}\n")));

    // All connections die silently, then loudly, then Redis itself.
    std::thread::sleep(Duration::from_millis(500));
    proxy.black_hole();
    proxy.heal();
    (10..20).for_each(|n| map.write(&format!("{n}\n")));
    std::thread::sleep(Duration::from_secs(1));
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).exec(&mut redis.connect()).unwrap();
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).exec(&mut redis.connect()).unwrap();
    (20..30).for_each(|n| map.write(&format!("{n}\n")));
    redis.crash_and_restart();
    (30..40).for_each(|n| map.write(&format!("{n}\n")));

    let squares: String = (0..40).map(|n| format!("{}\n", n * n)).collect();
    assert_eq!(map.wait().ok(), squares);
    assert_eq!(task.wait().ok(), "null\n");
    assert_eq!(results.wait().ok(), "null\n");
    assert_eq!(worker.drain().code(), Some(0));
}
