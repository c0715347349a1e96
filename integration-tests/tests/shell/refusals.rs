//! Exit code 6: the queue is full, or Redis near its memory limit.

use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};

use crate::rig::{assert_says, error, quiet};

#[test]
fn a_full_queue_refuses() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    redis.command::<()>("HSET {gm}:queue:default depth_limit 2");
    for _ in 0..2 {
        cli.run(&["submit", "square", "7"]).ok();
    }
    let line = error(&cli.run(&["submit", "square", "7"]), 6);
    assert_says(&line, &["\"default\" is full", "2 messages wait", "2 are allowed"]);
    cli.run(&["submit", "square", "7", "--queue", "other"]).ok();
    assert_eq!(redis.depth(), 2);
    let line = error(&cli.run_with(&["map", "square"], "1\n2\n"), 6);
    assert_says(&line, &["\"default\" is full"]);
    // There is room again once a worker has taken what waits.
    let _worker = WorkerOptions::new().start(&redis);
    eventually("the queue is empty", || (redis.depth() == 0).then_some(()));
    eventually("the worker's kernels", || (redis.command::<u64>("HLEN {gm}:kernels") > 0).then_some(()));
    assert_eq!(quiet(cli.run(&["submit", "square", "7", "--wait"])), "49\n");
    // A stream that is under way waits for room.
    redis.command::<()>("HSET {gm}:queue:default depth_limit 100");
    let input: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(quiet(cli.run_with(&["map", "square"], &input)).lines().count(), 20_000);
}

#[test]
fn a_redis_near_its_memory_limit_refuses() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    let info: String = redis.command("INFO memory");
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let used: u64 = used.trim().parse().unwrap();
    redis.command::<()>(&format!("CONFIG SET maxmemory {}", used * 10 / 9));
    let line = error(&cli.run(&["submit", "square", "7"]), 6);
    assert_says(&line, &["memory limit", "80 %"]);
    redis.command::<()>(&format!("CONFIG SET maxmemory {}", used / 2));
    let line = error(&cli.run(&["submit", "square", "7"]), 6);
    assert_says(&line, &["memory limit"]);
    // Looking is allowed.
    cli.run(&["queues"]).ok();
    redis.command::<()>("CONFIG SET maxmemory 0");
    cli.run(&["submit", "square", "7"]).ok();
    assert_eq!(redis.depth(), 1);
}
