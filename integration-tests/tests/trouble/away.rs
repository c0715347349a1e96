//! Redis goes away and comes back, or its connections do.

use std::time::Duration;

use gristmill_integration_tests::{Redis, eventually};
use gristmill_shared::events;

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_and_a_restart_everything_goes_on() {
    let mut redis = Redis::durable();
    let scene = Scene::start(&redis.url()).await;
    redis.server().kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    redis.server().restart().unwrap();
    scene.works_again().await;
    let worker = scene.end_unharmed().await;
    assert!(!worker.log.events(events::REDIS_RECONNECTED).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_is_one_to_work_with() {
    let mut redis = Redis::start();
    let scene = Scene::start(&redis.url()).await;
    redis.server().kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    redis.crash_and_restart();
    // The map's batch is gone, and its client says so; whoever comes now is served.
    let back = std::time::Instant::now();
    let cli = gristmill_integration_tests::Cli::new(&redis);
    eventually("the kernels are listed again", || cli.run(&["kernels"]).stdout.contains("square").then_some(()));
    assert_eq!(cli.run(&["submit", "square", "7", "--wait"]).ok(), "49\n");
    assert!(back.elapsed() < crate::scene::BACK_WITHIN, "{:?}", back.elapsed());
    let Scene { mut worker, load, .. } = scene;
    load.fails_for_good().await;
    assert_eq!(worker.drain().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_killed_again_and_again_are_made_anew() {
    let redis = Redis::start();
    let scene = Scene::start(&redis.url()).await;
    let mut killer = redis.connect();
    for _ in 0..10 {
        for kind in ["normal", "pubsub"] {
            redis::cmd("CLIENT").arg(&["KILL", "TYPE", kind]).exec(&mut killer).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    scene.works_again().await;
    scene.end_unharmed().await;
}
