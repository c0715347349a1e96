//! A second machine joins in the middle of a batch.

use gristmill::{BatchState, OutcomeKind};
use gristmill_integration_tests::{DEADLINE, wait};

use crate::site::{A, B, CONSUMERS, Site};

const TASKS: u64 = 300;
/// These wait at no gate.
const FREE: u64 = 50;
/// Tasks at the gates of one machine.
const HELD: u64 = CONSUMERS as u64;

/// Waits until the listings say this: workers with their running tasks, and the queue. They are published every
/// two seconds.
fn eventually_told(site: &Site, workers: &[(&str, u64)], queue: (u64, u64, u64)) {
    let workers: Vec<_> = workers.iter().map(|(host, running)| ((*host).to_owned(), *running)).collect();
    let expected = (workers, queue);
    let mut told = None;
    let found = wait::poll(DEADLINE, || {
        let now = (site.workers(), site.queue());
        let agree = now == expected;
        told = Some(now);
        agree.then_some(())
    });
    assert!(found.is_some(), "expected {expected:?}, but the listings say {told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_joins_in_the_middle_takes_its_share() {
    let Some(site) = Site::new() else { return };
    assert_eq!(site.workers(), []);
    assert_eq!(site.listing("queues").len(), 0);

    let client = site.client().await;
    let batch = site.batch(&client, TASKS, FREE).await;
    eventually_told(&site, &[], (TASKS, 0, 0));
    let depth: u64 = site.redis.command(&["LLEN", "{gm}:ready:default"]);
    assert_eq!(depth, TASKS);

    let mut first = site.worker(A, "10s");
    eventually_told(&site, &[(A, HELD)], (TASKS - FREE - HELD, HELD, FREE));
    assert!(site.visits().values().all(|hosts| hosts == &[A]), "{:?}", site.visits());

    let mut second = site.worker(B, "10s");
    eventually_told(&site, &[(A, HELD), (B, HELD)], (TASKS - FREE - 2 * HELD, 2 * HELD, FREE));

    site.open(A);
    site.open(B);
    eventually_told(&site, &[(A, 0), (B, 0)], (0, 0, TASKS));
    check_outcomes(&client, batch).await;
    check_visits(&site);

    first.drain();
    eventually_told(&site, &[(B, 0)], (0, 0, TASKS));
    second.drain();
    eventually_told(&site, &[], (0, 0, TASKS));
}

/// Every task has one outcome, and the workers' own word for where it ran.
async fn check_outcomes(client: &gristmill::Client, batch: gristmill::BatchId) {
    let record = client.batch_record(batch).await.unwrap().expect("the batch is there");
    assert_eq!((record.state, record.total, record.ended()), (BatchState::Finished, Some(TASKS), TASKS));
    assert_eq!(record.count(OutcomeKind::Succeeded), TASKS);
}

/// Every task ran once, and each machine did real work.
fn check_visits(site: &Site) {
    let visits = site.visits();
    assert_eq!(visits.len() as u64, TASKS);
    assert!(visits.values().all(|hosts| hosts.len() == 1), "a task ran twice: {visits:?}");
    for host in [A, B] {
        let count = visits.values().filter(|hosts| hosts[0] == host).count() as u64;
        assert!(count > TASKS / 10, "{host} ran {count} of {TASKS} tasks");
    }
}
