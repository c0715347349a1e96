//! How a worker stops: what runs gets its time, everything else goes back uncounted.

use std::time::{Duration, Instant};

use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_kernels::test_kernels::spin;
use gristmill_kernels::{sleep, square};
use gristmill_shared::events;
use nix::sys::signal::Signal;

const READY: &str = "{gm}:ready:default";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_finishes_what_runs_and_gives_back_the_rest() {
    let mut redis = Redis::start();
    let mut worker = WorkerOptions::new().debug().start(&redis);
    let client = redis.client().await;
    let running = client.submit(sleep, 0.7).await.unwrap();
    worker.log.wait(events::TASK_STARTED);
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(client.submit(sleep, 0.0).await.unwrap());
    }
    assert_eq!(worker.drain().code(), Some(0));
    tokio::time::timeout(Duration::from_secs(1), running.result()).await.expect("it is recorded").unwrap();
    assert_eq!(redis.depth(), 5, "tasks that had not begun are back");
    assert!(redis.headers(READY).iter().all(|header| (header.attempt, header.crashes, header.losses) == (1, 0, 0)));
    redis.assert_no_consumers();
    // They are as good as new.
    let _next = WorkerOptions::new().start(&redis);
    for task in waiting {
        task.result().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_come_and_go_in_the_middle_of_a_batch() {
    const TASKS: i64 = 20_000;
    let redis = Redis::start();
    let client = redis.client().await;
    let mut map = client.map(square, 0..TASKS).await.unwrap();
    let batch = map.id();
    let mut worker = WorkerOptions::new().consumers(2).arg("--lease 600s").start(&redis);
    for n in 0..TASKS {
        if n % 4_000 == 3_999 {
            let next = WorkerOptions::new().consumers(2).arg("--lease 600s").start(&redis);
            assert_eq!(std::mem::replace(&mut worker, next).drain().code(), Some(0));
        }
        assert_eq!(map.next().await.unwrap().unwrap(), n * n);
    }
    crate::one_outcome_each(&client, batch, TASKS as u64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlasts_the_grace_goes_back_uncounted() {
    let mut redis = Redis::start();
    let mut worker = WorkerOptions::new().arg("--grace 1s").test_kernels().debug().start(&redis);
    let client = redis.client().await;
    client.submit(spin, 60_000).await.unwrap();
    worker.log.wait(events::TASK_STARTED);
    assert_eq!(worker.drain().code(), Some(0));
    expect_one_back_uncounted(&mut redis);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let mut redis = Redis::start();
    let mut worker = WorkerOptions::new().consumers(2).test_kernels().debug().start(&redis);
    let client = redis.client().await;
    client.submit(spin, 60_000).await.unwrap();
    worker.log.wait(events::TASK_STARTED);
    worker.signal(Signal::SIGTERM);
    worker.log.wait(events::WORKER_DRAINING);
    let began = Instant::now();
    assert_eq!(worker.drain().code(), Some(143));
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    expect_one_back_uncounted(&mut redis);
}

fn expect_one_back_uncounted(redis: &mut Redis) {
    let headers = redis.headers(READY);
    let [header] = headers.as_slice() else { panic!("not one message waits: {headers:?}") };
    assert_eq!((header.attempt, header.crashes, header.losses), (1, 0, 0));
    redis.assert_no_consumers();
}
