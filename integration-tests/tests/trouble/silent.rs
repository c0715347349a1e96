//! Redis says nothing, or everything late.

use std::time::{Duration, Instant};

use gristmill_integration_tests::{Cli, DEADLINE, FaultProxy, Redis, WorkerOptions};
use gristmill_kernels::sleep;
use gristmill_shared::events;

use crate::scene::{BACK_WITHIN, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_die_without_a_word_are_found_out() {
    let redis = Redis::start();
    let proxy = FaultProxy::start(&redis.url());
    let scene = Scene::start(&proxy.url()).await;
    // Short: what nobody has missed yet must be missed later. Long: everybody is trying to connect.
    for silence in [Duration::from_millis(100), Duration::from_secs(4)] {
        proxy.black_hole();
        tokio::time::sleep(silence).await;
        proxy.heal();
        scene.works_again().await;
    }
    scene.end_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_and_a_client_that_only_waits_find_out_too() {
    let redis = Redis::start();
    let proxy = FaultProxy::start(&redis.url());
    let Scene { mut worker, client, load } = Scene::start(&proxy.url()).await;
    load.end().await;
    // The client waits for the outcome; meanwhile all connections die, and it hears no hint.
    let waiting = client.submit(sleep, 1.0).await.unwrap();
    let waiting = tokio::spawn(async move { waiting.result().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    proxy.black_hole();
    proxy.heal();
    let ended = tokio::time::timeout(DEADLINE, waiting).await;
    ended.expect("the client hears of it").unwrap().unwrap();
    assert!(begun.elapsed() < BACK_WITHIN + Duration::from_secs(1), "{:?}", begun.elapsed());
    // Now the worker has nothing to do, nobody speaks to it, and its doorbell is dead.
    proxy.black_hole();
    proxy.heal();
    let begun = Instant::now();
    assert_eq!(Cli::new(&redis).run(&["submit", "square", "7", "--wait"]).ok(), "49\n");
    assert!(begun.elapsed() < BACK_WITHIN, "{:?}", begun.elapsed());
    assert_eq!(worker.drain().code(), Some(0));
    for event in [events::LEASE_LOST, events::CONSUMER_DIED] {
        assert!(worker.log.events(event).is_empty(), "{event}:\n{}", worker.log.tail());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_costs_nobody_the_lease() {
    let redis = Redis::start();
    let proxy = FaultProxy::start(&redis.url());
    let scene = Scene::with(&proxy.url(), WorkerOptions::new().arg("--lease 2s")).await;
    proxy.delay(Duration::from_millis(300));
    let before = scene.load.results();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(scene.load.results() > before, "work goes on, slowly");
    proxy.delay(Duration::ZERO);
    scene.works_again().await;
    let worker = scene.end_unharmed().await;
    assert!(worker.log.events(events::REDIS_DISCONNECTED).is_empty(), "slow is not dead:\n{}", worker.log.tail());
}
