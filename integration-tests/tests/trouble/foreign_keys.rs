//! Somebody else writes into our namespace: keys hold strings where we keep lists, hashes, sets.

use std::time::{Duration, Instant};

use gristmill::{BatchId, BatchState, Client};
use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};
use gristmill_kernels::square;
use gristmill_shared::events;

use crate::results_of;
use crate::scene::BACK_WITHIN;

/// What all share, besides what stands in Redis at the moment.
const SHARED: [&str; 15] = [
    "{gm}:leases",
    "{gm}:clock",
    "{gm}:batches",
    "{gm}:queues",
    "{gm}:paused",
    "{gm}:cancelled",
    "{gm}:suspects",
    "{gm}:kernels",
    "{gm}:queue:default",
    "{gm}:ready:default",
    "{gm}:ready:default:high",
    "{gm}:scheduled:default",
    "{gm}:dead:default",
    "{gm}:dead:default:records",
    "{gm}:doorbell:default",
];

fn spoil(redis: &mut Redis, key: &str) {
    redis.command::<()>(&format!("DEL {key}"));
    redis.command::<()>(&format!("SET {key} foreign"));
}

#[test]
fn foreign_keys_are_named_and_nobody_runs_wild_and_without_them_work_goes_on() {
    let mut redis = Redis::start();
    let mut worker = WorkerOptions::new().consumers(2).start(&redis);
    let cli = Cli::new(&redis);
    assert_eq!(cli.run(&["submit", "square", "7", "--wait", "--force"]).ok(), "49\n");
    let mut keys = redis.matching("{gm}:*");
    keys.extend(SHARED.map(str::to_owned));
    keys.iter().for_each(|key| spoil(&mut redis, key));

    let (lines, calls) = (worker.log.mark(), scripts(&mut redis));
    let lasts = Duration::from_secs(3);
    std::thread::sleep(lasts);
    // Each consumer renews and tries again what was refused; the agent ticks, promotes and publishes.
    let per_second = (scripts(&mut redis) - calls) / lasts.as_secs();
    assert!(per_second <= 12, "{per_second} calls per second");
    let per_second = (worker.log.mark() - lines) as u64 / lasts.as_secs();
    assert!(per_second <= 12, "{per_second} lines of log per second");
    let refused = cli.run(&["submit", "square", "7", "--force"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("a type that Gristmill did not give it"), "{}", refused.stderr);

    keys.iter().for_each(|key| redis.command::<()>(&format!("DEL {key}")));
    let back = Instant::now();
    assert_eq!(cli.run(&["submit", "square", "8", "--wait", "--force"]).ok(), "64\n");
    assert!(back.elapsed() < BACK_WITHIN, "{:?}", back.elapsed());
    assert_eq!(worker.drain().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_of_one_batch_cost_this_batch_its_results_and_nobody_else_anything() {
    const TASKS: u64 = 200;
    let mut redis = Redis::start();
    let client = redis.client().await;
    let mut batches = Vec::new();
    for key in ["results", "runs", "batch", "nothing"] {
        let batch = client.map(square, 0..TASKS as i64).await.unwrap().detach().await.unwrap();
        match key {
            "results" => spoil(&mut redis, &format!("{{gm}}:results:{batch}:0")),
            "nothing" => {}
            _ => spoil(&mut redis, &format!("{{gm}}:{key}:{batch}")),
        }
        batches.push(batch);
    }
    let mut worker = WorkerOptions::new().consumers(2).start(&redis);
    for batch in [batches[0], batches[1], batches[3]] {
        finished(&client, batch, TASKS).await;
    }
    assert_eq!(results_of(&client, batches[3]).await.unwrap().len() as u64, TASKS);
    for batch in &batches[..3] {
        let error = results_of(&client, *batch).await.unwrap_err().to_string();
        assert!(error.contains("a type that Gristmill did not give it"), "{error}");
    }
    // Of the first batch the outcomes, of the third all that there was.
    eventually("the lost outcomes are counted", || {
        let orphaned: Option<u64> = redis.command("HGET {gm}:queue:default orphaned");
        (orphaned == Some(2 * TASKS)).then_some(())
    });
    assert_eq!(worker.drain().code(), Some(0));
    for event in [events::CONSUMER_DIED, events::LEASE_LOST] {
        assert!(worker.log.events(event).is_empty(), "{event}:\n{}", worker.log.tail());
    }
}

async fn finished(client: &Client, batch: BatchId, tasks: u64) {
    let begun = Instant::now();
    loop {
        let record = client.batch_record(batch).await.unwrap().unwrap();
        if record.state == BatchState::Finished {
            return assert_eq!(record.ended(), tasks, "{record:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{record:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Scripts and waits that were called so far.
fn scripts(redis: &mut Redis) -> u64 {
    let text: String = redis.command("INFO commandstats");
    let calls = |line: &str| line.split(['=', ',']).nth(1)?.parse::<u64>().ok();
    let ours = |line: &&str| line.starts_with("cmdstat_evalsha:") || line.starts_with("cmdstat_blpop:");
    text.lines().filter(ours).filter_map(calls).sum()
}
