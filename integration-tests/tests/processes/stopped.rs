//! A process that stands still for longer than its lease is fenced: it wakes up and may write nothing.

use gristmill::OutcomeKind;
use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_kernels::sleep;
use gristmill_shared::events;
use nix::sys::signal::Signal;

use crate::one_outcome_each;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_slept_past_its_lease_is_fenced() {
    let mut redis = Redis::start();
    let worker = WorkerOptions::new().consumers(2).arg("--lease 1s").debug().start(&redis);
    let client = redis.client().await;
    let mut map = client.map(sleep, [0.3]).await.unwrap();
    let batch = map.id();
    let sleeper = redis.wait_busy();
    worker.log.wait(events::TASK_STARTED);
    let process = worker.consumer(&sleeper);
    process.signal(Signal::SIGSTOP);
    worker.log.wait_for(events::CONSUMER_RECLAIMED, |line| line.text("consumer") == sleeper);
    map.next().await.unwrap().expect("the other consumer has done it");
    assert!(process.is_stopped());
    process.signal(Signal::SIGCONT);
    worker.log.wait_for(events::LEASE_LOST, |line| line.text("consumer") == sleeper);
    assert!(map.next().await.is_none());
    let record = one_outcome_each(&client, batch, 1).await;
    assert_eq!(record.count(OutcomeKind::Succeeded), 1);
    // Its successor works.
    worker.log.wait_count(events::CONSUMER_STARTED, 3);
    assert_eq!(client.map(sleep, vec![0.01; 4]).await.unwrap().collect().await.unwrap().len(), 4);
}
