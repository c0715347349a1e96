use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gristmill::{Client, Handle, Progress, SubmitOptions, TaskError};
use gristmill_integration_tests::Cli;
use serde_json::Value;

use crate::{client, mill};

/// Waits until the task has told what fits.
async fn told<T: 'static>(client: &Client, task: &Handle<T>, fits: impl Fn(&Progress) -> bool) -> Progress {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match client.progress(task.id()).await.unwrap() {
            Some(progress) if fits(&progress) => return progress,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn how_far_a_task_is_can_be_seen_everywhere() {
    let mill = mill().start().unwrap();
    let (client, options) = (client(&mill).await, SubmitOptions::new());
    let dir = tempfile::tempdir().unwrap();
    let until = dir.path().join("until");
    let task: Handle<u32> = client.submit_dyn("steps", &(425, until.to_str().unwrap()), &options).await.unwrap();
    let progress = told(&client, &task, |progress| progress.fraction == Some(0.425)).await;
    assert_eq!(progress.note.as_deref(), Some("step 425 of 1000"));
    let (cli, id) = (Cli::at(&mill.url()), task.id().to_string());
    let status = cli.run(&["status", &id]).ok();
    assert!(status.contains("[============                  ] 42%") && status.contains("step 425 of 1000"), "{status}");
    let status: Value = serde_json::from_str(&cli.run(&["status", &id, "--json"]).ok()).unwrap();
    assert_eq!((status[0]["fraction"].as_f64(), &status[0]["progress"]), (Some(0.425), &"step 425 of 1000".into()));
    let workers = cli.run(&["workers", "--consumers"]).ok();
    assert!(workers.contains("42% step 425 of 1000"), "{workers}");
    let workers: Value = serde_json::from_str(&cli.run(&["workers", "--consumers", "--json"]).ok()).unwrap();
    assert_eq!(workers[0]["fraction"].as_f64(), Some(0.425), "{workers}");
    // The next task in the same place begins with nothing.
    let next: Handle<(usize, u8, u32)> = client.submit_dyn("model", &4_000, &options).await.unwrap();
    std::fs::write(&until, "").unwrap();
    assert_eq!(task.result().await.unwrap(), 425);
    let progress = told(&client, &next, |_| true).await;
    assert_eq!((progress.fraction, progress.note), (None, None));
    assert_eq!(client.progress(task.id()).await.unwrap(), None, "it has ended");
}

#[tokio::test]
async fn a_certificate_keeps_the_last_that_was_told() {
    let mill = mill().start().unwrap();
    let (client, options) = (client(&mill).await, SubmitOptions::new());
    let task: Handle<()> = client.submit_dyn("steps_to_death", &777, &options).await.unwrap();
    let Err(TaskError::Ended(failed)) = task.result().await else { panic!("it crashes") };
    let certificate = failed.certificate.unwrap();
    assert_eq!((certificate.fraction, certificate.progress.as_deref()), (Some(0.777), Some("step 777 of 1000")));
}

#[tokio::test]
async fn what_is_told_all_the_time_is_sent_on_once_a_second() {
    let mill = mill().start().unwrap();
    let (client, options) = (client(&mill).await, SubmitOptions::new());
    let dir = tempfile::tempdir().unwrap();
    let until = dir.path().join("until");
    let task: Handle<u64> = client.submit_dyn("chatter", &until.to_str().unwrap(), &options).await.unwrap();
    told(&client, &task, |progress| progress.fraction.is_some()).await;
    let (mut published, mut fractions) = (BTreeSet::new(), BTreeSet::new());
    let started = Instant::now();
    while published.len() < 4 || fractions.len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "a bar moves: {published:?}, {fractions:?}");
        published.insert(client.workers().await.unwrap()[0].fields["updated_at"].clone());
        let told = client.progress(task.id()).await.unwrap().unwrap();
        fractions.insert(told.fraction.map(f64::to_bits));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The first may be old, and the second may follow it closely.
    let elapsed = started.elapsed();
    assert!(published.len() as u64 <= elapsed.as_secs() + 2, "once a second: {published:?} in {elapsed:?}");
    std::fs::write(&until, "").unwrap();
    let told = task.result().await.unwrap();
    assert!(told > 10_000 * published.len() as u64, "{told} times, of which {} were sent on", published.len());
}
