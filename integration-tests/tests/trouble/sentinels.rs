//! Sentinels: the master dies, another takes its place.

use std::time::Instant;

use gristmill_integration_tests::{Cli, Sentinels, eventually};
use gristmill_kernels::sleep;

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
