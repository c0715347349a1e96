//! fsck while everything moves: it calls nothing wrong that is right, and still finds what is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gristmill::{Client, SubmitOptions};
use gristmill_broker::Broker;
use gristmill_broker::fsck::{Flaw, Fsck, RepairLock, Repaired, Report};
use gristmill_integration_tests::{Redis, WorkerOptions, WorkerProcess};
use gristmill_kernels::test_kernels::{crash, fail};
use gristmill_kernels::{sleep, square};
use gristmill_shared::Namespace;
use gristmill_shared::connection::{Endpoint, Timeouts, connect};
use nix::sys::signal::Signal;
use redis::aio::MultiplexedConnection;

/// How long the load goes on at least.
const LOAD: Duration = Duration::from_secs(8);
/// It goes on until so much was seen of it.
const LOOKS: usize = 20;
const BUSY: usize = 10;

/// Looks again and again.
struct Looker {
    conn: MultiplexedConnection,
    broker: Broker,
    fsck: Fsck,
}

impl Looker {
    async fn new(redis: &Redis) -> Self {
        let endpoint = Endpoint::parse(&redis.url()).unwrap();
        let conn = connect(&endpoint, &Timeouts::default()).await.unwrap();
        let broker = Broker::new(&Namespace::new("gm").unwrap());
        Self { conn, fsck: Fsck::new(&broker), broker }
    }

    async fn look(&mut self) -> Report {
        self.fsck.check(&mut self.conn).await.unwrap()
    }
}

/// One round of everything that can happen to a task.
async fn round(client: &Client, n: i64) {
    let quick = Duration::from_millis(30);
    let retried = SubmitOptions::new().retries(3).backoff(quick, quick);
    let mut map = client.map(square, n..n + 400).await.unwrap();
    for failures in [1, 2, 9] {
        client.submit_with(fail, ("not yet".into(), failures), &retried).await.unwrap();
    }
    if n % 5 == 0 {
        client.submit(crash, "abort".to_owned()).await.unwrap();
    }
    let doomed = client.map(sleep, vec![0.2; 20]).await.unwrap();
    client.submit(sleep, 0.01).await.unwrap().result().await.unwrap();
    client.cancel(doomed.id()).await.unwrap();
    while let Some(result) = map.next().await {
        result.unwrap();
    }
}

/// Load from two clients, and now and then a consumer is killed, until enough was seen.
async fn load(workers: &[WorkerProcess], clients: [Client; 2], seen: &Arc<AtomicBool>) {
    let rounds = clients.map(|client| {
        let seen = Arc::clone(seen);
        tokio::spawn(async move {
            let mut n = 0;
            while !seen.load(Ordering::Relaxed) {
                round(&client, n).await;
                n += 1;
            }
            n
        })
    });
    while !seen.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(700)).await;
        // It may just have died of its own.
        if let Some((consumer, _)) = workers[0].consumers().pop() {
            consumer.signal(Signal::SIGKILL);
        }
    }
    for rounds in rounds {
        assert!(rounds.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moving_system_raises_no_false_alarm() {
    let redis = Redis::start();
    let workers = [(); 2].map(|()| WorkerOptions::new().consumers(2).test_kernels().start(&redis));
    let clients = [redis.client().await, redis.client().await];
    let client = clients[0].clone();
    let mut looker = Looker::new(&redis).await;
    let mut fresh = Looker::new(&redis).await;
    let seen = Arc::new(AtomicBool::new(false));
    let load = load(&workers, clients, &seen);
    let looks = async {
        let (begun, mut looks, mut busy, mut planted) = (Instant::now(), 0, 0, 0);
        while begun.elapsed() < LOAD || looks < LOOKS || busy < BUSY || planted == 0 {
            assert!(begun.elapsed() < crate::PATIENCE, "{looks} looks, {busy} of them at tasks that moved");
            // One that remembers what it saw, and one that begins anew each time.
            fresh.fsck = Fsck::new(&fresh.broker);
            for looker in [&mut looker, &mut fresh] {
                let report = looker.look().await;
                assert_eq!(report.findings, [], "a false alarm");
                looks += 1;
                busy += usize::from(report.tasks > 0 && report.notes.is_empty());
            }
            if looks % 10 == 0 {
                plant_and_repair(&mut looker).await;
                planted += 1;
            }
        }
        seen.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, looks);
    let idle = async || {
        let queues = client.queues().await.unwrap();
        queues.iter().all(|queue| queue.ready_tasks + queue.running_tasks + queue.scheduled_tasks == 0)
    };
    let begun = Instant::now();
    while !idle().await {
        assert!(begun.elapsed() < crate::PATIENCE, "the load never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let report = looker.look().await;
    assert_eq!((report.findings.as_slice(), report.notes.len()), (&[][..], 0));
}

/// A counter that is off is found and put right while it moves.
async fn plant_and_repair(looker: &mut Looker) {
    let (broker, conn) = (looker.broker.clone(), &mut looker.conn);
    let mut plant = redis::cmd("HINCRBY");
    let _: i64 = plant.arg("{gm}:queue:default").arg("ready_tasks").arg(5).query_async(conn).await.unwrap();
    // One look may find too much in motion to judge, and says so.
    let begun = Instant::now();
    let found = loop {
        let report = looker.fsck.check(conn).await.unwrap();
        if !report.findings.is_empty() {
            break report.findings;
        }
        assert!(begun.elapsed() < crate::PATIENCE, "the fault is not found: {:?}", report.notes);
    };
    let flaws: Vec<_> = found.iter().map(|finding| (finding.flaw, finding.at.as_deref())).collect();
    assert_eq!(flaws, [(Flaw::QueueCounter, Some("ready_tasks"))], "{found:?}");
    let lock = RepairLock::take(&broker, conn).await.unwrap().unwrap();
    assert_eq!(looker.fsck.repair(conn, &lock, &found[0]).await.unwrap(), Repaired::Done);
    lock.give_back(conn).await.unwrap();
}
