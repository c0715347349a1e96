//! kill -9 of every kind of process in the middle of a batch: nothing is lost, nothing counts twice.

use gristmill::{BatchId, Client, MapHandle};
use gristmill_integration_tests::worker::assert_gone;
use gristmill_integration_tests::{Redis, WorkerOptions, WorkerProcess, eventually};
use gristmill_kernels::sum_sqrt;
use gristmill_shared::events;
use nix::sys::signal::Signal;

use crate::one_outcome_each;

/// A lease that no test lives to see expire.
const LONG_LEASE: &str = "--lease 600s";
const TASKS: u64 = 400;

/// A batch whose tasks take some 10 ms each, with different results.
struct Work {
    batch: BatchId,
    results: MapHandle<f64>,
}

impl Work {
    async fn start(client: &Client) -> Self {
        let results = client.map(sum_sqrt, (0..TASKS).map(size)).await.unwrap();
        Self { batch: results.id(), results }
    }

    /// Waits until so many results are there.
    async fn reach(&self, client: &Client, ended: u64) {
        while client.batch_record(self.batch).await.unwrap().is_none_or(|record| record.ended() < ended) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn check(self, client: &Client) {
        let collected = tokio::time::timeout(crate::PATIENCE, self.results.collect());
        let results = collected.await.expect("the batch finishes").unwrap();
        let expected: Vec<f64> = (0..TASKS).map(|n| sum_sqrt(size(n))).collect();
        assert_eq!(results, expected);
        let record = one_outcome_each(client, self.batch, TASKS).await;
        assert_eq!(record.count(gristmill::OutcomeKind::Succeeded), TASKS);
    }
}

fn size(n: u64) -> u64 {
    200_000 + n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_consumers_lose_nothing() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().consumers(2).arg(LONG_LEASE).start(&redis);
    let client = redis.client().await;
    let work = Work::start(&client).await;
    for round in 1..=5 {
        work.reach(&client, round * 30).await;
        kill_a_consumer(&worker, round as usize % 2);
    }
    work.check(&client).await;
    worker.drain();
    assert_eq!(worker.log.events(events::CONSUMER_DIED).len(), 5);
}

/// With a handler of that signal, as `kill` sends it: once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_from_outside_ends_a_consumer() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().arg(LONG_LEASE).start(&redis);
    let (victim, id) = worker.consumers().remove(0);
    let mark = worker.log.mark();
    victim.signal(Signal::SIGABRT);
    let died = worker.log.wait_after(mark, events::CONSUMER_DIED, |line| line.text("consumer") == id);
    assert!(died.text("summary").contains("SIGABRT"), "{}", died.text("summary"));
    worker.log.wait_after(mark, events::CONSUMER_STARTED, |line| line.text("consumer") != id);
    worker.drain();
}

/// Kills one and waits until its messages were taken back and its successor works.
fn kill_a_consumer(worker: &WorkerProcess, place: usize) {
    let mark = worker.log.mark();
    let (victim, id) = worker.consumers().swap_remove(place);
    victim.signal(Signal::SIGKILL);
    worker.log.wait_after(mark, events::CONSUMER_DIED, |line| line.text("consumer") == id);
    worker.log.wait_after(mark, events::CONSUMER_RECLAIMED, |line| line.text("consumer") == id);
    worker.log.wait_after(mark, events::CONSUMER_STARTED, |line| line.text("consumer") != id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_is_replaced_and_told_of_the_deaths() {
    let redis = Redis::start();
    let worker = WorkerOptions::new().consumers(2).arg(LONG_LEASE).start(&redis);
    let client = redis.client().await;
    let work = Work::start(&client).await;
    work.reach(&client, 30).await;
    let (agent, (victim, id)) = (worker.agent(), worker.consumers().swap_remove(0));
    agent.signal(Signal::SIGKILL);
    victim.signal(Signal::SIGKILL);
    worker.log.wait(events::AGENT_REPLACED);
    worker.log.wait_for(events::CONSUMER_RECLAIMED, |line| line.text("consumer") == id);
    assert_ne!(worker.agent(), agent);
    work.check(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_supervisor_leaves_no_orphan_and_loses_nothing() {
    let redis = Redis::start();
    let mut first = WorkerOptions::new().consumers(2).arg("--lease 1s").start(&redis);
    let second = WorkerOptions::new().consumers(1).arg("--lease 1s").start(&redis);
    let client = redis.client().await;
    let work = Work::start(&client).await;
    work.reach(&client, 30).await;
    let processes = first.processes();
    assert_eq!(processes.len(), 4, "supervisor, agent, 2 consumers");
    first.signal(Signal::SIGKILL);
    first.wait();
    assert_gone(&processes);
    work.check(&client).await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_machine_loses_nothing() {
    let mut redis = Redis::start();
    let mut first = WorkerOptions::new().consumers(2).arg("--lease 1s").start(&redis);
    let client = redis.client().await;
    let work = Work::start(&client).await;
    work.reach(&client, 30).await;
    first.power_off();
    assert_eq!(redis.matching("{gm}:consumer:*").len(), 2, "nobody has taken anything back");
    let _second = WorkerOptions::new().consumers(2).arg("--lease 1s").start(&redis);
    work.check(&client).await;
    eventually("only the living hold leases", || (redis.matching("{gm}:consumer:*").len() == 2).then_some(()));
}
