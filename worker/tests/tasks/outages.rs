//! A Redis that goes, comes back, fills up or is idle.

use std::time::Duration;

use gristmill_embedded::{AppendOnly, EmbeddedOptions};
use gristmill_shared::{Outcome, OutcomeKind};

use crate::rig::{self, Rig, Submit, count};
use crate::value;

#[tokio::test]
async fn broken_connections_are_made_anew_and_nothing_runs_twice() {
    let mut rig = Rig::start(2).await;
    let args: Vec<i64> = (0..100_000).collect();
    let batch = rig.submit(&Submit { per_message: 200, ..Submit::to("square") }, &args).await;
    let mut other = rig::connect(&rig.redis).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let _: u64 = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
            .query_async(&mut other)
            .await
            .unwrap();
    }
    rig.conn = rig::connect(&rig.redis).await;
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 100_000);
    assert_eq!(rig.outcomes(batch).await.len(), 100_000);
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_restart_of_redis_loses_nothing() {
    let options = EmbeddedOptions::new().appendonly(AppendOnly::Always);
    let mut rig = Rig::with(options.start().unwrap()).await;
    rig.start_worker(2, &[]);
    let args: Vec<i64> = (0..100_000).collect();
    let batch = rig.submit(&Submit { per_message: 200, ..Submit::to("square") }, &args).await;
    for _ in 0..2 {
        rig.until(batch, |record| record.ended() > 0).await;
        rig.redis.kill();
        rig.redis.restart().unwrap();
        rig.conn = rig::connect(&rig.redis).await;
    }
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 100_000);
    assert_eq!(rig.outcomes(batch).await.len(), 100_000);
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_wrong_password_ends_the_worker_with_3() {
    let redis = EmbeddedOptions::new().requirepass("secret").start().unwrap();
    let mut worker = rig::worker(&redis.url(), 1, &[]);
    assert_eq!(rig::ended(&mut worker).code(), Some(3));
}

#[tokio::test]
async fn a_pause_of_redis_costs_nobody_a_lease() {
    let mut rig = Rig::without_worker().await;
    rig.start_worker(2, &["--lease", "2s"]);
    let batch = rig.submit(&Submit::to("sleep"), &[6.0; 2]).await;
    rig.running(2).await;
    let before = rig.children();
    rig.redis.pause().unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    rig.redis.resume().unwrap();
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 2);
    assert_eq!(rig.children(), before, "nobody was replaced");
}

#[tokio::test]
async fn an_idle_worker_is_quiet() {
    let mut rig = Rig::start(1).await;
    let batch = rig.submit(&Submit::to("square"), &[3]).await;
    rig.outcome(batch).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = calls(&mut rig).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let after = calls(&mut rig).await;
    // The consumer may make two calls per second; the agent makes a tick and a promotion.
    assert!(after - before <= 6 * (2 + 2), "{} commands in 6 s", after - before);
}

#[tokio::test]
async fn a_paused_queue_with_work_keeps_its_worker_quiet() {
    let mut rig = Rig::without_worker().await;
    let paused = rig.broker.keys().paused();
    let _: u64 = redis::cmd("SADD").arg(&paused).arg("default").query_async(&mut rig.conn).await.unwrap();
    let batch = rig.submit(&Submit::to("square"), &[1, 2, 3]).await;
    rig.start_worker(2, &[]);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let before = calls(&mut rig).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = calls(&mut rig).await;
    assert!(after - before <= 5 * (2 * 2 + 2), "{} commands in 5 s", after - before);
    assert_eq!(rig.record(batch).await.ended(), 0);
    let _: u64 = redis::cmd("SREM").arg(&paused).arg("default").query_async(&mut rig.conn).await.unwrap();
    rig.finished(batch).await;
}

#[tokio::test]
async fn a_worker_survives_the_loss_of_all_keys() {
    let mut rig = Rig::start(2).await;
    rig.submit(&Submit::to("sleep"), &[5.0; 3]).await;
    rig.running(2).await;
    let _: String = redis::cmd("FLUSHALL").query_async(&mut rig.conn).await.unwrap();
    let batch = rig.submit(&Submit::to("square"), &(0..10).collect::<Vec<i64>>()).await;
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 10);
    rig.nothing_left().await;
}

#[tokio::test]
async fn at_the_memory_limit_the_queue_drains() {
    let mut rig = Rig::without_worker().await;
    let args: Vec<i64> = (0..5_000).collect();
    let batch = rig.submit(&Submit { per_message: 5, ..Submit::to("square") }, &args).await;
    rig.limit_memory("1").await;
    rig.start_worker(2, &[]);
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 5_000);
    rig.limit_memory("0").await;
    rig.nothing_left().await;
}

#[tokio::test]
async fn at_the_memory_limit_a_large_output_fails_and_stops_nobody() {
    let mut rig = Rig::without_worker().await;
    let large = rig.submit(&Submit { blob: true, ..Submit::to("echo") }, &["x".repeat(200_000)]).await;
    let behind = rig.submit(&Submit::to("square"), &[3]).await;
    rig.limit_memory("1").await;
    rig.start_worker(1, &[]);
    let outcome = rig.outcome(large).await;
    let Outcome::Bad(OutcomeKind::Failed, failure) = &outcome else { panic!("it fails: {outcome:?}") };
    assert!(failure.message.contains("cannot be stored: Redis is at its memory limit"), "{}", failure.message);
    assert_eq!(value::<i64>(&rig.outcome(behind).await), 9);
    rig.limit_memory("0").await;
    rig.nothing_left().await;
}

/// Scripts and waits that clients asked for.
async fn calls(rig: &mut Rig) -> u64 {
    let text: String = redis::cmd("INFO").arg("commandstats").query_async(&mut rig.conn).await.unwrap();
    let count = |name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:calls=")));
        line.and_then(|line| line.split(['=', ',']).nth(1)?.parse().ok()).unwrap_or(0)
    };
    count("evalsha") + count("blpop")
}
