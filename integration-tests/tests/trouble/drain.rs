//! A worker is told to drain while its Redis is away.

use std::time::{Duration, Instant};

use gristmill_integration_tests::{Redis, WorkerOptions, eventually};
use gristmill_kernels::sleep;
use gristmill_shared::events;
use nix::sys::signal::Signal;

/// What a drain may take beyond its grace: the last reports, the agent's leave.
const BEYOND: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_without_redis_ends_with_the_grace_and_loses_nothing() {
    let mut redis = Redis::durable();
    let client = redis.client().await;
    let grace = Duration::from_secs(1);
    let mut worker = WorkerOptions::new().consumers(2).arg("--grace 1s --lease 2s").start(&redis);
    let map = client.map(sleep, vec![3.0, 3.0, 0.0, 0.0]).await.unwrap();
    redis.wait_busy();
    redis.server().kill();
    let begun = Instant::now();
    assert_eq!(worker.drain().code(), Some(0));
    assert!(begun.elapsed() < grace + BEYOND, "{:?}", begun.elapsed());
    redis.server().restart().unwrap();
    // Its leases run out, and another worker takes everything.
    let mut other = WorkerOptions::new().consumers(2).arg("--lease 2s").start(&redis);
    let results = tokio::time::timeout(Duration::from_secs(30), map.collect()).await;
    assert_eq!(results.expect("nothing is lost").unwrap().len(), 4);
    assert_eq!(other.drain().code(), Some(0));
}

#[test]
fn an_agent_that_is_about_to_come_back_does_not_keep_a_drain_waiting() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().start(&redis);
    // Each death makes its successor wait longer.
    for deaths in 1..=6 {
        worker.agent().signal(Signal::SIGKILL);
        eventually("the agent's death is noticed", || {
            (worker.log.events(events::AGENT_DIED).len() == deaths).then_some(())
        });
    }
    let begun = Instant::now();
    assert_eq!(worker.drain().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
}
