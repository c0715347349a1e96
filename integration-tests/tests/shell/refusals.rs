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
    let line = error(&cli.run_with(&["map", "square", "--when-full", "fail"], "1\n2\n"), 6);
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

/// While submissions are refused, the work that is in Redis is done, and makes room.
#[test]
fn workers_drain_a_redis_that_takes_nothing_more() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    let text = "word ".repeat(9_000);
    let input = format!("{text:?}\n").repeat(300);
    let map = cli.run_with(&["map", "text.word_count", "--timeout", "2s"], &input);
    error(&map, 4);
    let used = |redis: &mut Redis| -> u64 {
        let info: String = redis.command("INFO memory");
        info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
    };
    // Full to the last byte: from now on Redis itself refuses what takes room.
    let full = used(&mut redis);
    redis.command::<()>(&format!("CONFIG SET maxmemory {}", full - full / 10));
    let line = error(&cli.run(&["submit", "square", "7", "--force"]), 6);
    assert_says(&line, &["memory limit", "MiB", "80 %", "workers"]);
    let worker = WorkerOptions::new().start(&redis);
    eventually("the queue is empty", || (redis.depth() == 0).then_some(()));
    eventually("there is room again", || (used(&mut redis) < full / 2).then_some(()));
    let queue = eventually("all are settled", || {
        let queue = crate::rig::rows(&cli.run(&["queues", "--json"])).remove(0);
        (queue["running_tasks"] == 0).then_some(queue)
    });
    assert_eq!(queue["totals"]["succeeded"].as_u64(), queue["totals"]["enqueued"].as_u64(), "{queue}");
    eventually("the worker's kernels", || (redis.command::<u64>("HLEN {gm}:kernels") > 0).then_some(()));
    assert_eq!(quiet(cli.run(&["submit", "square", "7", "--wait"])), "49\n");
    drop(worker);
}

/// The results of a batch that nobody collects fill their budget, and no more.
#[test]
fn a_batch_whose_results_take_too_much_room_is_stopped() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    let input = format!("{:?}\n", "x".repeat(10_000)).repeat(200);
    let map = cli.run_with(&["map", "echo", "--chunk", "1", "--result-bytes", "100KB", "--timeout", "2s"], &input);
    let said = error(&map, 4);
    let batch = said.split('`').nth(1).unwrap().rsplit(' ').next().unwrap();
    let _worker = WorkerOptions::new().start(&redis);
    let output = cli.run(&["results", batch, "--wait"]);
    let line = error(&output, 6);
    assert_says(&line, &[batch, "take more than 97.6KiB", "collect them while it runs", "--result-bytes"]);
    let (stored, stopped): (Vec<_>, Vec<_>) = output.stdout.lines().partition(|line| line.starts_with("\"x"));
    assert_eq!(stored.len() + stopped.len(), 200);
    // What a consumer had taken before is still run: at most 1 MiB of messages.
    assert!((10..150).contains(&stored.len()), "{} of 10 KB each", stored.len());
    for line in stopped {
        assert_says(line, &["\"kind\":\"cancelled\"", "not started: the results of its batch take more than 97.6KiB"]);
    }
    let status = crate::rig::rows(&cli.run(&["status", batch, "--json"])).remove(0);
    assert_eq!((&status["state"], &status["stopped"]), (&"finished".into(), &true.into()), "{status}");
    // Whoever collects while it runs has room for any number of results.
    let input = format!("{:?}\n", "x".repeat(1_000)).repeat(5_000);
    let output = cli.run_with(&["map", "echo", "--result-bytes", "1MiB"], &input);
    assert_eq!((output.code, output.stdout.lines().count()), (0, 5_000), "{}", output.stderr);
    let left: Vec<String> = redis.matching("{gm}:batch:*");
    let held: Vec<Option<u64>> = left.iter().map(|key| redis.command(&format!("HGET {key} result_bytes"))).collect();
    assert!(held.contains(&Some(0)), "what was delivered takes no room: {held:?}");
}

/// Outputs that stand in blobs go with the results that name them.
#[test]
fn large_outputs_of_a_map_are_gone_when_they_are_delivered() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    let _worker = WorkerOptions::new().start(&redis);
    let input = format!("{:?}\n", "x".repeat(300_000)).repeat(40);
    let output = cli.run_with(&["map", "echo", "--result-bytes", "4MiB"], &input);
    assert_eq!((output.code, output.stdout.lines().count()), (0, 40), "{}", output.stderr);
    assert_eq!(redis.matching("{gm}:blob:*"), [""; 0], "12 MB that nobody needs any more");
}
