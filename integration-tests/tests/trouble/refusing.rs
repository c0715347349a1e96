//! Redis is there, and refuses.

use std::fs;
use std::time::Duration;

use gristmill_embedded::{AppendOnly, EmbeddedOptions};
use gristmill_integration_tests::{Redis, eventually};
use redis::Connection;

use crate::scene::Scene;

/// Long enough that everybody meets the trouble: renewals, ticks, claims, enqueues.
const TROUBLE: Duration = Duration::from_secs(3);

/// Lets the trouble last, and sees that nothing is done in it.
async fn stand_still(scene: &Scene) {
    // What was on its way before.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = scene.load.results();
    tokio::time::sleep(TROUBLE).await;
    assert_eq!(scene.load.results(), before, "that was no trouble");
}

fn run(connection: &mut Connection, words: &str) {
    let words: Vec<_> = words.split_ascii_whitespace().collect();
    redis::cmd(words[0]).arg(&words[1..]).exec(connection).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readonly() {
    let redis = Redis::start();
    let scene = Scene::start(&redis.url()).await;
    let mut operator = redis.connect();
    // Nobody listens there, so it keeps what it has.
    run(&mut operator, "REPLICAOF 127.0.0.1 1");
    stand_still(&scene).await;
    run(&mut operator, "REPLICAOF NO ONE");
    scene.works_again().await;
    scene.end_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loading() {
    let options = EmbeddedOptions::new().appendonly(AppendOnly::Always).extra("key-load-delay", "400");
    let mut redis = Redis::kept(options);
    let scene = Scene::start(&redis.url()).await;
    let mut much = redis::pipe();
    for _ in 0..8_000 {
        much.cmd("SET").arg("key").arg("value").ignore();
    }
    much.exec(&mut redis.connect()).unwrap();
    // It answers -LOADING until it is back.
    redis.crash_and_restart();
    scene.works_again().await;
    scene.end_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy() {
    let redis = Redis::special(EmbeddedOptions::new().extra("lua-time-limit", "50"));
    let scene = Scene::start(&redis.url()).await;
    let (mut operator, mut looping) = (redis.connect(), redis.connect());
    let looping = std::thread::spawn(move || redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut looping));
    stand_still(&scene).await;
    run(&mut operator, "SCRIPT KILL");
    assert!(looping.join().unwrap().is_err());
    scene.works_again().await;
    scene.end_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_room_on_its_disk() {
    let mut redis = Redis::special(EmbeddedOptions::new().extra("save", "3600 1"));
    let scene = Scene::start(&redis.url()).await;
    let mut operator = redis.connect();
    // No snapshot can take the place of a directory, as none fits on a full disk.
    let obstacle = redis.server().dir().join("dump.rdb");
    fs::create_dir(&obstacle).unwrap();
    run(&mut operator, "BGSAVE");
    saved(&mut redis, "err");
    stand_still(&scene).await;
    fs::remove_dir(&obstacle).unwrap();
    run(&mut operator, "BGSAVE");
    saved(&mut redis, "ok");
    scene.works_again().await;
    scene.end_unharmed().await;
}

fn saved(redis: &mut Redis, status: &str) {
    let status = format!("rdb_last_bgsave_status:{status}");
    eventually(&status, || redis.command::<String>("INFO persistence").contains(&status).then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_further_connections() {
    let mut redis = Redis::start();
    let scene = Scene::start(&redis.url()).await;
    let others = others(&mut redis);
    // Room for nobody but this test.
    redis.command::<()>("CONFIG SET maxclients 1");
    // Those that stand go on.
    scene.flows().await;
    for id in others {
        // The client may have closed it meanwhile.
        let _: u64 = redis.command(&format!("CLIENT KILL ID {id}"));
    }
    stand_still(&scene).await;
    redis.command::<()>("CONFIG SET maxclients 10000");
    scene.works_again().await;
    scene.end_unharmed().await;
}

/// The connections of everybody but this test.
fn others(redis: &mut Redis) -> Vec<String> {
    let own: u64 = redis.command("CLIENT ID");
    let list: String = redis.command("CLIENT LIST");
    let id = |line: &str| line.split(' ').find_map(|field| field.strip_prefix("id=")).unwrap_or_default().to_owned();
    list.lines().map(id).filter(|id| *id != own.to_string()).collect()
}
