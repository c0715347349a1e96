//! Redis goes away, or only its connections do.

use std::collections::BTreeSet;
use std::time::Duration;

use gristmill::Unordered;
use gristmill_integration_tests::{Redis, WorkerOptions, eventually};
use gristmill_kernels::square;
use gristmill_shared::events;

use crate::one_outcome_each;

const TASKS: i64 = 30_000;

/// Takes results until there are so many; each is right and comes once.
async fn take(map: &mut Unordered<i64>, seen: &mut BTreeSet<u64>, until: usize) {
    while seen.len() < until {
        let next = tokio::time::timeout(crate::PATIENCE, map.next()).await.expect("results go on to come");
        let (index, result) = next.unwrap_or_else(|| panic!("the map ended after {} results", seen.len()));
        assert_eq!(result.unwrap(), (index * index) as i64);
        assert!(seen.insert(index), "the result {index} came twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_that_kept_its_data_loses_nothing() {
    let mut redis = Redis::durable();
    let mut worker = WorkerOptions::new().consumers(2).start(&redis);
    let client = redis.client().await;
    let mut map = client.map(square, 0..TASKS).await.unwrap().unordered();
    let (batch, mut seen) = (map.id(), BTreeSet::new());
    for kill in 1..=2 {
        take(&mut map, &mut seen, kill * 5_000).await;
        redis.crash_and_restart();
    }
    take(&mut map, &mut seen, TASKS as usize).await;
    assert!(map.next().await.is_none());
    one_outcome_each(&client, batch, TASKS as u64).await;
    worker.drain();
    assert!(!worker.log.events(events::REDIS_RECONNECTED).is_empty());
    assert!(worker.log.events(events::CONSUMER_DIED).is_empty(), "an outage kills nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stood_still_costs_nobody_the_lease() {
    let mut redis = Redis::start();
    let mut worker = WorkerOptions::new().consumers(2).arg("--lease 2s").start(&redis);
    let client = redis.client().await;
    let mut map = client.map(square, 0..TASKS).await.unwrap().unordered();
    let mut seen = BTreeSet::new();
    take(&mut map, &mut seen, 2_000).await;
    redis.server().pause().unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    redis.server().resume().unwrap();
    take(&mut map, &mut seen, TASKS as usize).await;
    worker.drain();
    for event in [events::LEASE_LOST, events::CONSUMER_DIED, events::CONSUMER_RECLAIMED] {
        assert!(worker.log.events(event).is_empty(), "{event}:\n{}", worker.log.tail());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_survives_the_loss_of_all_connections() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().consumers(2).start(&redis);
    let client = redis.client().await;
    let mut map = client.map(square, 0..TASKS).await.unwrap().unordered();
    let (batch, mut seen) = (map.id(), BTreeSet::new());
    for kill in 1..=8 {
        take(&mut map, &mut seen, kill * 2_000).await;
        let mut killer = redis.connect();
        for kind in ["normal", "pubsub"] {
            // Those whom the last round has cut off may still be coming back.
            eventually("somebody is connected", || {
                let kill = redis::cmd("CLIENT").arg(&["KILL", "TYPE", kind]).query::<u64>(&mut killer);
                (kill.unwrap() > 0).then_some(())
            });
        }
    }
    take(&mut map, &mut seen, TASKS as usize).await;
    assert!(map.next().await.is_none());
    one_outcome_each(&client, batch, TASKS as u64).await;
}
