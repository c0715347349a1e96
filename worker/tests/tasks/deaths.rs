//! Processes that die under their tasks: who is charged, and that nothing is lost.

use std::time::{Duration, Instant};

use gristmill_shared::{Outcome, OutcomeKind};
use nix::sys::signal::Signal;

use crate::rig::{Rig, Submit, count, kill};

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
