//! Whole workers against a private Redis: every way in which a task can end.

mod agent;
mod rig;

use std::time::{Duration, Instant};

use gristmill_broker::Cancelled;
use gristmill_embedded::{AppendOnly, EmbeddedOptions};
use gristmill_shared::message::TaskOptions;
use gristmill_shared::{Outcome, OutcomeKind, codec};
use nix::sys::signal::Signal;
use rig::{Rig, Submit, count, kill};

fn value<T: serde::de::DeserializeOwned>(outcome: &Outcome) -> T {
    match outcome {
        Outcome::Value(bytes) => codec::decode(bytes).unwrap(),
        other => panic!("no value: {other:?}"),
    }
}

#[tokio::test]
async fn chunks_of_short_tasks_all_succeed() {
    let mut rig = Rig::start(2).await;
    let args: Vec<i64> = (0..20_000).collect();
    let batch = rig.submit(&Submit { per_message: 500, ..Submit::to("square") }, &args).await;
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 20_000);
    let outcomes = rig.outcomes(batch).await;
    assert_eq!(value::<i64>(&outcomes[19_999]), 19_999 * 19_999);
    rig.nothing_left().await;
}

#[tokio::test]
async fn single_tasks_come_one_after_another() {
    let mut rig = Rig::start(1).await;
    for n in 0..20i64 {
        let batch = rig.submit(&Submit::to("square"), &[n]).await;
        assert_eq!(value::<i64>(&rig.outcome(batch).await), n * n);
    }
}

#[tokio::test]
async fn failures_are_tried_again_and_then_buried() {
    let mut rig = Rig::start(2).await;
    let options = TaskOptions { retries: Some(2), backoff_ms: Some(10), ..TaskOptions::default() };
    let what = Submit { per_message: 3, options, ..Submit::to("fail") };
    let batch = rig.submit(&what, &[("a", 0), ("b", 2), ("c", 9)]).await;
    let record = rig.finished(batch).await;
    assert_eq!((count(&record, OutcomeKind::Succeeded), count(&record, OutcomeKind::Failed)), (2, 1));
    let outcomes = rig.outcomes(batch).await;
    assert_eq!(value::<u16>(&outcomes[1]), 3);
    let Outcome::Bad(OutcomeKind::Failed, failure) = &outcomes[2] else { panic!("it fails") };
    assert_eq!((failure.message.as_str(), failure.attempt), ("c", 3));
    rig.nothing_left().await;
    assert_eq!(rig.stats().await.dead_tasks, 1);
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_text() {
    let mut rig = Rig::start(1).await;
    let batch = rig.submit(&Submit::to("crash"), &["panic"]).await;
    let outcome = rig.outcome(batch).await;
    let Outcome::Bad(OutcomeKind::Failed, failure) = &outcome else { panic!("it fails: {outcome:?}") };
    assert!(failure.message.contains("a panic, as asked for"), "{}", failure.message);
}

#[tokio::test]
async fn killed_consumers_lose_nothing() {
    let mut rig = Rig::start(2).await;
    let batch = rig.submit(&Submit::to("sleep"), &[0.7; 6]).await;
    rig.running(2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let consumers = rig.consumers();
    assert_eq!(consumers.len(), 2);
    consumers.into_iter().for_each(|pid| kill(pid, Signal::SIGKILL));
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 6);
    rig.outcomes(batch).await;
    rig.nothing_left().await;
}

#[tokio::test]
async fn killed_in_the_middle_of_chunks() {
    let mut rig = Rig::start(2).await;
    let args: Vec<i64> = (0..60_000).collect();
    let mut batches = Vec::new();
    for _ in 0..5 {
        batches.push(rig.submit(&Submit { per_message: 300, ..Submit::to("square") }, &args).await);
    }
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        if let Some(&pid) = rig.consumers().first() {
            kill(pid, Signal::SIGKILL);
        }
    }
    for batch in batches {
        let record = rig.finished(batch).await;
        assert_eq!(count(&record, OutcomeKind::Succeeded), 60_000);
        assert_eq!(rig.outcomes(batch).await.len(), 60_000);
    }
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_crash_is_charged_to_the_item_that_ran() {
    let mut rig = Rig::start(2).await;
    let batch = rig
        .submit(&Submit { per_message: 5, ..Submit::to("crash") }, &["print", "print", "abort", "print", "print"])
        .await;
    let record = rig.finished(batch).await;
    assert_eq!((count(&record, OutcomeKind::Succeeded), count(&record, OutcomeKind::Crashed)), (4, 1));
    let outcomes = rig.outcomes(batch).await;
    let Outcome::Bad(OutcomeKind::Crashed, failure) = &outcomes[2] else { panic!("{:?}", outcomes[2]) };
    assert!(failure.certificate.is_some());
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_time_limit_ends_the_process_and_nobody_else() {
    let mut rig = Rig::start(2).await;
    let options = TaskOptions { time_limit_ms: Some(300), ..TaskOptions::default() };
    let what = Submit { per_message: 4, options, ..Submit::to("spin") };
    let begun = Instant::now();
    let batch = rig.submit(&what, &[1, 60_000, 1, 1]).await;
    let record = rig.finished(batch).await;
    assert_eq!((count(&record, OutcomeKind::Succeeded), count(&record, OutcomeKind::TimedOut)), (3, 1));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_cancel_stops_what_runs_and_what_waits() {
    let mut rig = Rig::start(3).await;
    let deaf = rig.submit(&Submit::to("spin"), &[60_000, 60_000, 60_000, 60_000]).await;
    rig.running(3).await;
    assert_eq!(rig.broker.cancel(&mut rig.conn, deaf, None).await.unwrap(), Cancelled::Done);
    let record = rig.finished(deaf).await;
    assert_eq!(count(&record, OutcomeKind::Cancelled), 4);
    let polite = rig.submit(&Submit { per_message: 3, ..Submit::to("sleep") }, &[30.0, 30.0, 0.0]).await;
    rig.until(polite, |record| record.ended() == 1).await;
    assert_eq!(rig.broker.cancel(&mut rig.conn, polite, Some(&[0, 1])).await.unwrap(), Cancelled::Done);
    let record = rig.finished(polite).await;
    assert_eq!((count(&record, OutcomeKind::Cancelled), count(&record, OutcomeKind::Succeeded)), (2, 1));
    rig.nothing_left().await;
}

#[tokio::test]
async fn nothing_waits_behind_a_long_task() {
    let mut rig = Rig::start(4).await;
    // Measured as short, so that several are claimed ahead.
    let warm_up =
        rig.submit(&Submit { per_message: 50, ..Submit::to("square") }, &(0..1_000i64).collect::<Vec<_>>()).await;
    rig.finished(warm_up).await;
    let begun = Instant::now();
    let batch = rig.submit(&Submit { per_message: 8, ..Submit::to("sleep") }, &[0.5; 8]).await;
    rig.finished(batch).await;
    assert!(begun.elapsed() < Duration::from_millis(2_000), "{:?}", begun.elapsed());
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_busy_consumer_takes_no_ring_from_a_free_one() {
    let mut rig = Rig::start(2).await;
    // Free, then busy, several times: whoever waits at the bells when it becomes busy would take a ring with it.
    let mut waited = Vec::new();
    for _ in 0..6 {
        let busy = rig.submit(&Submit::to("sleep"), &[1.2]).await;
        rig.running(1).await;
        for n in 0..15i64 {
            let begun = Instant::now();
            let batch = rig.submit(&Submit::to("square"), &[n]).await;
            rig.outcome(batch).await;
            waited.push(begun.elapsed());
        }
        rig.outcome(busy).await;
    }
    // A tick heals a lost ring, but only within a second.
    let late = waited.iter().filter(|&&waited| waited > Duration::from_millis(150)).count();
    assert_eq!(late, 0, "{waited:?}");
}

#[tokio::test]
async fn a_task_outlives_many_losses() {
    let mut rig = Rig::start(1).await;
    let batch = rig.submit(&Submit::to("sleep"), &[1.5]).await;
    let mut killed = 0;
    for _ in 0..4 {
        let begun = Instant::now();
        let consumer = loop {
            let consumer = rig.consumers().first().copied().filter(|&pid| pid != killed);
            if rig.stats().await.running_tasks == 1
                && let Some(consumer) = consumer
            {
                break consumer;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "nobody takes it again");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        // Now it begins the task, if the task was claimed just now.
        tokio::time::sleep(Duration::from_millis(200)).await;
        kill(consumer, Signal::SIGKILL);
        killed = consumer;
    }
    // Losses are no crashes, of which three would bury it.
    rig.outcome(batch).await;
    let record = rig.record(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 1, "{record:?}");
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_gives_back_the_rest() {
    let mut rig = Rig::start(2).await;
    let batch = rig.submit(&Submit::to("sleep"), &[0.6; 10]).await;
    rig.running(2).await;
    assert_eq!(rig.drain().code(), Some(0));
    // One that was claimed may not have begun.
    let ended = count(&rig.record(batch).await, OutcomeKind::Succeeded);
    assert!(ended <= 2, "{ended}");
    let stats = rig.stats().await;
    assert_eq!((stats.ready_tasks, stats.running_tasks), (10 - ended, 0));
    let leases: u64 = redis::cmd("ZCARD").arg(rig.broker.keys().leases()).query_async(&mut rig.conn).await.unwrap();
    assert_eq!(leases, 0);
}

#[tokio::test]
async fn what_outlasts_the_grace_goes_back_uncharged() {
    let mut rig = Rig::without_worker().await;
    rig.start_worker(1, &["--grace", "1s"]);
    let batch = rig.submit(&Submit { per_message: 2, ..Submit::to("spin") }, &[20_000, 20_000]).await;
    rig.running(1).await;
    assert_eq!(rig.drain().code(), Some(0));
    let stats = rig.stats().await;
    assert_eq!((stats.ready_tasks, stats.running_tasks), (2, 0));
    assert_eq!(rig.record(batch).await.ended(), 0);
}

#[tokio::test]
async fn unknown_kernels_are_parked() {
    let mut rig = Rig::start(1).await;
    rig.submit(&Submit { per_message: 2, ..Submit::to("nobody.knows") }, &[1, 2, 3]).await;
    let begun = Instant::now();
    while rig.stats().await.parked_tasks != 3 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rig.nothing_left().await;
}

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
async fn large_arguments_and_outputs_pass_through_blobs() {
    let mut rig = Rig::start(1).await;
    let args: Vec<String> = (0..4).map(|n| n.to_string().repeat(200_000)).collect();
    let batch = rig.submit(&Submit { per_message: 2, blob: true, ..Submit::to("echo") }, &args).await;
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 4, "{record:?}");
    for (outcome, arg) in rig.outcomes(batch).await.iter().zip(&args) {
        let Outcome::Blob(blob) = outcome else { panic!("a large output stands in a blob") };
        let bytes = rig.broker.get_blob(&mut rig.conn, batch, blob).await.unwrap().unwrap();
        assert_eq!(codec::decode::<String>(&bytes).unwrap(), *arg);
    }
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
async fn nobody_survives_the_supervisor_and_nothing_is_lost() {
    let mut rig = Rig::without_worker().await;
    rig.start_worker(2, &["--lease", "2s"]);
    let batch = rig.submit(&Submit::to("sleep"), &[2.0; 4]).await;
    rig.running(2).await;
    let children = rig.children();
    assert_eq!(children.len(), 3);
    kill(rig.worker.as_ref().unwrap().id() as i32, Signal::SIGKILL);
    let begun = Instant::now();
    while children.iter().any(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()) {
        assert!(begun.elapsed() < Duration::from_secs(5), "a child has outlived its supervisor");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.worker.take().unwrap().wait().unwrap();
    // They gave back what they held: nobody has to wait for a lease to expire, and nothing is charged.
    let stats = rig.stats().await;
    assert_eq!((stats.ready_tasks, stats.running_tasks), (4, 0));
    let leases: u64 = redis::cmd("ZCARD").arg(rig.broker.keys().leases()).query_async(&mut rig.conn).await.unwrap();
    assert_eq!(leases, 0);
    rig.start_worker(2, &["--lease", "2s"]);
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 4);
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_wrong_password_ends_the_worker_with_3() {
    let redis = EmbeddedOptions::new().requirepass("secret").start().unwrap();
    let mut worker = rig::worker(&redis.url(), 1, &[]);
    assert_eq!(rig::ended(&mut worker).code(), Some(3));
}

#[tokio::test]
async fn a_task_that_ruins_its_process_is_found_in_the_end() {
    let mut rig = Rig::start(1).await;
    let batch = rig.submit(&Submit { per_message: 2, ..Submit::to("crash") }, &["close-fds", "print"]).await;
    let record = rig.finished(batch).await;
    assert_eq!(record.ended(), 2);
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_stopped_consumer_is_fenced_and_writes_nothing_more() {
    let mut rig = Rig::without_worker().await;
    rig.start_worker(2, &["--lease", "1s"]);
    let batch = rig.submit(&Submit::to("sleep"), &[0.5; 4]).await;
    rig.running(2).await;
    let stopped = rig.consumers()[0];
    kill(stopped, Signal::SIGSTOP);
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Succeeded), 4);
    kill(stopped, Signal::SIGCONT);
    let begun = Instant::now();
    while rig.children().contains(&stopped) {
        assert!(begun.elapsed() < Duration::from_secs(5), "it goes on without a lease");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(rig.outcomes(batch).await.len(), 4);
    assert_eq!(count(&rig.record(batch).await, OutcomeKind::Succeeded), 4);
    rig.nothing_left().await;
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
#[ignore = "measures"]
async fn utilisation() {
    for (ms, tasks, per_message) in [(1u64, 2_000, 1), (1, 2_000, 10), (5, 400, 1), (0, 100_000, 1), (0, 200_000, 500)]
    {
        let mut rig = Rig::start(1).await;
        let warm_up = rig.submit(&Submit::to("spin"), &[1, 1, 1]).await;
        rig.finished(warm_up).await;
        let args = vec![ms; tasks];
        let begun = Instant::now();
        let what = Submit { per_message, ..Submit::to("spin") };
        let mut batches = Vec::new();
        for args in args.chunks(1_000 * per_message) {
            batches.push(rig.submit(&what, args).await);
        }
        for batch in batches {
            rig.finished(batch).await;
        }
        let took = begun.elapsed();
        let per_second = tasks as f64 / took.as_secs_f64();
        println!("{tasks} x {ms} ms by {per_message}: {took:?}, {per_second:.0}/s");
    }
}

#[tokio::test]
async fn a_dead_letter_keeps_its_arguments() {
    let mut rig = Rig::start(1).await;
    let what = Submit { per_message: 3, blob: true, ..Submit::to("fail") };
    let batch = rig.submit(&what, &[("a", 9), ("b", 0), ("c", 9)]).await;
    rig.finished(batch).await;
    let key = rig.broker.keys().blob(batch, "a0", 0);
    let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut rig.conn).await.unwrap();
    assert!(left > 29 * 24 * 3_600_000, "{left} ms");
    assert_eq!(rig.stats().await.dead_tasks, 2);
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

#[tokio::test]
async fn a_chunk_that_only_fails_is_recorded_in_pieces() {
    let mut rig = Rig::start(2).await;
    let text = "x".repeat(3_000);
    let args: Vec<(&str, u16)> = vec![("no", 9); 2_000];
    let batch = rig.submit(&Submit { per_message: 1_000, ..Submit::to("fail") }, &args).await;
    let long = rig.submit(&Submit { per_message: 30, ..Submit::to("fail") }, &vec![(text.as_str(), 9u16); 30]).await;
    let record = rig.finished(batch).await;
    assert_eq!(count(&record, OutcomeKind::Failed), 2_000);
    assert_eq!(rig.outcomes(batch).await.len(), 2_000);
    rig.finished(long).await;
    rig.nothing_left().await;
    assert_eq!(rig.stats().await.dead_tasks, 2_030);
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
