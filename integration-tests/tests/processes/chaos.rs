//! Everything at once: processes die and connections break at moments that nobody chose.

use std::time::Duration;

use gristmill::{OutcomeKind, SubmitOptions};
use gristmill_integration_tests::{Redis, WorkerOptions, WorkerProcess};
use gristmill_kernels::square;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::one_outcome_each;

const TASKS: i64 = 60_000;
const BLOWS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_result_comes_once_whatever_dies() {
    let redis = Redis::start();
    let workers = [(); 2].map(|()| WorkerOptions::new().consumers(2).arg("--lease 3s").start(&redis));
    let client = redis.client().await;
    let mut map = client.map_with(square, 0..TASKS, &SubmitOptions::new()).await.unwrap();
    let batch = map.id();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut connection = redis.connect();
    for n in 0..TASKS {
        if n % (TASKS / BLOWS as i64) == 0 {
            strike(&workers, &mut connection, &mut random);
        }
        let next = tokio::time::timeout(crate::PATIENCE, map.next()).await.expect("results go on to come");
        assert_eq!(next.expect("not all results are there").unwrap(), n * n);
    }
    assert!(map.next().await.is_none());
    let record = one_outcome_each(&client, batch, TASKS as u64).await;
    assert_eq!(record.count(OutcomeKind::Succeeded), TASKS as u64);
}

/// Kills a consumer or an agent, or cuts everybody off.
fn strike(workers: &[WorkerProcess], connection: &mut redis::Connection, random: &mut StdRng) {
    std::thread::sleep(Duration::from_millis(random.random_range(0..20)));
    let worker = &workers[random.random_range(0..workers.len())];
    match random.random_range(0..10) {
        0 => worker.agent().signal(Signal::SIGKILL),
        1..3 => {
            for kind in ["normal", "pubsub"] {
                let _: u64 = redis::cmd("CLIENT").arg(&["KILL", "TYPE", kind]).query(connection).unwrap();
            }
        }
        _ => {
            let consumers = worker.consumers();
            if !consumers.is_empty() {
                consumers[random.random_range(0..consumers.len())].0.signal(Signal::SIGKILL);
            }
        }
    }
}
