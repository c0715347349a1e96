//! Everything at once: processes die and connections break at moments that nobody chose.

use std::time::Duration;

use gristmill::OutcomeKind;
use gristmill_integration_tests::{Redis, WorkerOptions, WorkerProcess};
use gristmill_kernels::sum_sqrt;
use gristmill_shared::events;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::one_outcome_each;

/// Each takes about a millisecond, so that blows hit the middle of chunks.
const TASKS: u64 = 5_000;
const BLOWS: u64 = 50;

fn size(n: u64) -> u64 {
    30_000 + n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_result_comes_once_whatever_dies() {
    let redis = Redis::start();
    let mut workers = [(); 2].map(|()| WorkerOptions::new().consumers(2).arg("--lease 3s").start(&redis));
    let client = redis.client().await;
    // Computed before, so that the workers are what the test waits for.
    let expected: Vec<f64> = (0..TASKS).map(|n| sum_sqrt(size(n))).collect();
    let mut map = client.map(sum_sqrt, (0..TASKS).map(size)).await.unwrap();
    let batch = map.id();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut connection = redis.connect();
    for (n, expected) in (0..).zip(expected) {
        if n % (TASKS / BLOWS) == 0 {
            // Results come in bursts, blows should not.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
            strike(&workers, &mut connection, &mut random);
        }
        let next = tokio::time::timeout(crate::PATIENCE, map.next()).await.expect("results go on to come");
        assert_eq!(next.expect("not all results are there").unwrap(), expected);
    }
    assert!(map.next().await.is_none());
    let record = one_outcome_each(&client, batch, TASKS).await;
    assert_eq!(record.count(OutcomeKind::Succeeded), TASKS);
    for worker in &mut workers {
        worker.drain();
    }
    let reclaimed = workers.iter().flat_map(|worker| worker.log.events(events::CONSUMER_RECLAIMED));
    let held = reclaimed.filter(|line| line.number("suspects") > Some(0) || line.number("returned") > Some(0)).count();
    assert!(held as u64 > BLOWS / 10, "only {held} blows hit a consumer that held something");
}

/// Kills a consumer or an agent, or cuts everybody off.
fn strike(workers: &[WorkerProcess], connection: &mut redis::Connection, random: &mut StdRng) {
    let worker = &workers[random.random_range(0..workers.len())];
    match random.random_range(0..10) {
        0 => worker.agent_now().into_iter().for_each(|agent| agent.signal(Signal::SIGKILL)),
        1..3 => {
            for kind in ["normal", "pubsub"] {
                let _: u64 = redis::cmd("CLIENT").arg(&["KILL", "TYPE", kind]).query(connection).unwrap();
            }
        }
        3..5 => {
            let consumers = worker.consumers();
            if !consumers.is_empty() {
                consumers[random.random_range(0..consumers.len())].0.signal(Signal::SIGKILL);
            }
        }
        _ => {
            // Those that hold messages are the ones that can lose some.
            let holders = keys(connection);
            let mut all = workers.iter().flat_map(WorkerProcess::consumers);
            let victim = all.find(|(_, id)| holders.iter().any(|key| key.ends_with(id.as_str())));
            victim.into_iter().for_each(|(process, _)| process.signal(Signal::SIGKILL));
        }
    }
}

fn keys(connection: &mut redis::Connection) -> Vec<String> {
    redis::cmd("KEYS").arg("{gm}:inflight:*").query(connection).unwrap()
}
