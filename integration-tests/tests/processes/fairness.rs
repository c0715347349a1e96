//! Who goes first: nobody waits behind a long task in vain, queues and lanes keep their order.

use std::collections::HashMap;

use gristmill::{Lane, QueueName, SubmitOptions};
use gristmill_integration_tests::{Redis, WorkerOptions, enqueue_chunk};
use gristmill_kernels::{sleep, square};
use gristmill_shared::events;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_task_holds_up_no_other() {
    let redis = Redis::start();
    let client = redis.client().await;
    let mut seconds = vec![0.0; 40];
    seconds[0] = 1.5;
    let batch = enqueue_chunk(&redis, "sleep", &seconds).await;
    let mut singles = Vec::new();
    for _ in 0..20 {
        singles.push(client.submit(sleep, 0.0).await.unwrap());
    }
    let _worker = WorkerOptions::new().consumers(2).start(&redis);
    for task in singles {
        task.result().await.unwrap();
    }
    let mut results = client.results(batch);
    let mut order = Vec::new();
    while let Some(item) = results.next().await {
        order.push(item.unwrap().0);
    }
    assert_eq!(order.len(), 40);
    assert_eq!(order.last(), Some(&0), "the long one at the head of the chunk ends last: {order:?}");
}

/// A consumer whose tasks were short claims many ahead. When they turn out to be long, it gives them back, though
/// none runs for as long as 100 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_were_claimed_as_short_ones_are_shared_when_they_are_long() {
    let redis = Redis::start();
    let client = redis.client().await;
    let worker = WorkerOptions::new().consumers(2).debug().start(&redis);
    let one_by_one = SubmitOptions::new().chunk(1);
    let short = client.map_with(square, 0..3_000, &one_by_one).await.unwrap().collect().await.unwrap();
    assert_eq!(short.len(), 3_000);
    let long = client.map_with(sleep, vec![0.03; 60], &one_by_one).await.unwrap();
    let batch = long.id().to_string();
    assert_eq!(long.collect().await.unwrap().len(), 60);
    let ran: HashMap<_, usize> =
        worker.log.events(events::MESSAGE_SETTLED).iter().fold(HashMap::new(), |mut ran, line| {
            if line.text("task").starts_with(&batch) {
                *ran.entry(line.text("consumer").to_owned()).or_default() += 1;
            }
            ran
        });
    assert!(ran.len() == 2 && ran.values().all(|&tasks| tasks >= 15), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_and_lanes_are_emptied_in_order() {
    let redis = Redis::start();
    let client = redis.client().await;
    let names: Vec<String> = (0..12).map(|n| format!("q{n}")).collect();
    let mut expected = Vec::new();
    // Enqueued in the opposite order.
    for name in names.iter().rev() {
        for lane in [Lane::Low, Lane::Normal, Lane::High] {
            let options = SubmitOptions::new().queue(QueueName::new(name.clone()).unwrap()).lane(lane);
            expected.push(client.submit_with(square, 1, &options).await.unwrap().id().to_string());
        }
    }
    expected.reverse();
    let queues = format!("--queues {}", names.join(","));
    let worker = WorkerOptions::new().arg(&queues).debug().start(&redis);
    worker.log.wait_count(events::TASK_STARTED, expected.len());
    let started = worker.log.events(events::TASK_STARTED);
    assert_eq!(started.iter().map(|line| line.text("task").to_owned()).collect::<Vec<_>>(), expected);
}
