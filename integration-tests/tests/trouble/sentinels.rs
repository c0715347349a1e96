//! Sentinels: the master dies, another takes its place.

use std::time::{Duration, Instant};

use gristmill::Client;
use gristmill_integration_tests::{Cli, Sentinels, WorkerOptions, eventually};
use gristmill_kernels::{sleep, square};

use crate::results_of;
use crate::scene::{BACK_WITHIN, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_at_the_new_master() {
    let mut redis = Sentinels::start();
    let scene = Scene::start(&redis.url()).await;
    // What the replica has not received is lost with the master: so this batch is to be whole there.
    let kept = scene.client.map(sleep, vec![0.01; 200]).await.unwrap().detach().await.unwrap();
    redis.wait_for_replica();
    redis.kill_master();
    redis.wait_promoted();
    let promoted = Instant::now();
    eventually("the sentinels name the new master", || (redis.master_port() == redis.second_port()).then_some(()));
    scene.works_again().await;
    assert!(promoted.elapsed() < 2 * BACK_WITHIN, "{:?}", promoted.elapsed());

    assert_eq!(results_of(&scene.client, kept).await.unwrap().len(), 200);
    let cli = Cli::at(&redis.url());
    assert_eq!(cli.run(&["submit", "square", "7", "--wait"]).ok(), "49\n");
    // The old master comes back, as a replica: nobody falls for it.
    redis.restart_first();
    assert_eq!(cli.run(&["submit", "square", "8", "--wait"]).ok(), "64\n");
    scene.end().await;
}

/// The sentinels leave it to itself for ten seconds; what it takes meanwhile is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_replaced_in_good_health_is_left_before_it_knows() {
    let redis = Sentinels::start();
    let mut worker = WorkerOptions::new().start_at(&redis.url());
    let client = Client::connect(redis.url()).await.unwrap();
    client.submit(square, 7).await.unwrap().result().await.unwrap();
    redis.fail_over();
    redis.wait_promoted();
    let promoted = Instant::now();
    loop {
        let task = client.submit(square, 7).await.unwrap();
        let result = tokio::time::timeout(Duration::from_secs(1), task.result()).await;
        // While one has moved and the other has not, they do not meet.
        if redis.second_has(&format!("{{gm}}:batch:{}", task.id().batch)) && matches!(result, Ok(Ok(49))) {
            break;
        }
        assert!(promoted.elapsed() < Duration::from_secs(8), "{:?}", promoted.elapsed());
    }
    assert_eq!(worker.drain().code(), Some(0));
}

#[test]
fn what_is_wrong_with_sentinels_is_said() {
    let redis = Sentinels::start();
    let says = |url: &str, what: &str| {
        let refused = Cli::at(url).run(&["queues"]);
        assert_eq!(refused.code, 3, "{}", refused.stderr);
        assert!(refused.stderr.contains(what) && refused.stderr.lines().count() == 1, "{}", refused.stderr);
        assert!(!refused.stderr.contains("secret") && !refused.stderr.contains("see"), "{}", refused.stderr);
    };
    says(&redis.url_without_login_at_sentinels(), "it demands another password (?sentinel_password=");
    says(&redis.url().replace("/main", "/other"), "no master named \"other\"");
    says(&redis.url().replace(":secret@", ""), "demands a password");
}
