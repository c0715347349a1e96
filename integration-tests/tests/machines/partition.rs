//! A worker that is cut off from Redis for longer than its lease.

use std::time::{Duration, Instant};

use gristmill::{BatchId, BatchRecord, BatchState, Client, OutcomeKind};
use gristmill_integration_tests::{WorkerProcess, eventually};
use gristmill_shared::events;

use crate::site::{A, B, CONSUMERS, Site};

const LEASE: &str = "2s";
const TASKS: u64 = 12;
/// How soon a worker works again once the way to Redis is free.
const BACK: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_cut_off_beyond_its_lease_comes_back() {
    let Some(site) = Site::new() else { return };
    let client = site.client().await;
    let (mut cut, mut other) = (site.worker(A, LEASE), site.worker(B, LEASE));
    let batch = site.batch(&client, TASKS, 0).await;
    let held = held_by_each(&site);
    let (lost, mark) = (ids(&cut), cut.log.mark());

    site.machine(A).unplug();
    for id in &lost {
        other.log.wait_for(events::CONSUMER_RECLAIMED, |line| line.text("consumer") == id);
    }
    // What it held runs elsewhere, and everything ends while it is away and still computes.
    site.open(B);
    let record = finished(&client, batch).await;
    assert_eq!(record.count(OutcomeKind::Succeeded), TASKS);
    assert!(cut.consumers().iter().all(|(process, _)| process.is_alive()));

    site.machine(A).plug();
    let plugged = Instant::now();
    for id in &lost {
        cut.log.wait_after(mark, events::LEASE_LOST, |line| line.text("consumer") == id);
    }
    cut.log.wait_count(events::CONSUMER_STARTED, 2 * CONSUMERS);
    let took = plugged.elapsed();
    println!("back at work {took:?} after the way was free");
    assert!(took < BACK, "back at work after {took:?}");
    site.open(A);

    check_first_batch(&site, &held);
    assert_eq!(finished(&client, batch).await, record, "what it had computed changes nothing");
    check_that_both_work(&site, &client, [&cut, &other]).await;
    cut.drain();
    other.drain();
}

fn ids(worker: &WorkerProcess) -> Vec<String> {
    worker.consumers().into_iter().map(|(_, id)| id).collect()
}

/// Waits until every consumer waits at its gate; returns the tasks of the machine that is cut off.
fn held_by_each(site: &Site) -> Vec<u64> {
    let on = |host: &str| {
        let visits = site.visits();
        visits.into_iter().filter(|(_, hosts)| hosts[0] == host).map(|(number, _)| number).collect::<Vec<_>>()
    };
    eventually("every consumer has a task", || (on(A).len() == CONSUMERS && on(B).len() == CONSUMERS).then(|| on(A)))
}

/// Those that were cut off ran twice, everything else ran once, and all of it on the machine that stayed.
fn check_first_batch(site: &Site, held: &[u64]) {
    let visits = site.visits();
    assert_eq!(visits.len() as u64, TASKS);
    for (number, hosts) in &visits {
        let expected: &[&str] = if held.contains(number) { &[A, B] } else { &[B] };
        assert_eq!(hosts, expected, "task {number}: {visits:?}");
    }
}

/// Waits for the end of a batch.
async fn finished(client: &Client, batch: BatchId) -> BatchRecord {
    let wait = async {
        loop {
            let record = client.batch_record(batch).await.unwrap().expect("the batch is there");
            if record.state == BatchState::Finished {
                assert_eq!((record.total, record.ended()), (Some(record.tasks), record.tasks), "{record:?}");
                return record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(gristmill_integration_tests::DEADLINE, wait).await.expect("the batch finishes")
}

/// New work goes to both, once each, and the listings know both.
async fn check_that_both_work(site: &Site, client: &Client, workers: [&WorkerProcess; 2]) {
    site.forget_visits();
    site.shut(A);
    site.shut(B);
    let batch = site.batch(client, TASKS, 0).await;
    held_by_each(site);
    let hosts = |workers: Vec<(String, u64)>| workers.into_iter().map(|(host, _)| host).collect::<Vec<_>>();
    eventually("both are listed", || (hosts(site.workers()) == [A, B]).then_some(()));
    site.open(A);
    site.open(B);
    assert_eq!(finished(client, batch).await.count(OutcomeKind::Succeeded), TASKS);
    assert!(site.visits().values().all(|hosts| hosts.len() == 1));
    let leases: Vec<String> = site.redis.command(&["ZRANGE", "{gm}:leases", "0", "-1"]);
    let mut living: Vec<String> = workers.iter().flat_map(|worker| ids(worker)).collect();
    living.sort();
    let mut leases = leases;
    leases.sort();
    assert_eq!(leases, living, "only the living hold leases");
}
