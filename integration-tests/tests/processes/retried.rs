//! Dead letters that are retried: id, history and counters, whatever has become of the batch.

use std::time::Duration;

use gristmill::{BatchId, BatchState, Client, OutcomeKind, SubmitOptions};
use gristmill_integration_tests::{Cli, Output, Redis, WorkerOptions, WorkerProcess, enqueue_messages, eventually};
use gristmill_shared::events;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::results;

/// A worker whose task succeeds once a file is there.
struct Scene {
    worker: WorkerProcess,
    redis: Redis,
    client: Client,
    cli: Cli,
    folder: TempDir,
}

impl Scene {
    async fn start() -> Self {
        let redis = Redis::start();
        let worker = worker().start(&redis);
        let (client, cli) = (redis.client().await, Cli::new(&redis));
        Self { worker, redis, client, cli, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn create(&self, name: &str) {
        std::fs::write(self.path(name), "").unwrap();
    }

    /// A batch of the kernel `needs`, one message for each name.
    async fn batch(&self, names: &[&str]) -> BatchId {
        let paths: Vec<_> = names.iter().map(|name| self.path(name)).collect();
        enqueue_messages(&self.redis, "needs", &paths, 1).await
    }

    /// What `dead show` or `status` print for programs.
    fn object(&self, args: &[&str]) -> Value {
        one(self.cli.run(&[args, &["--json"]].concat()))
    }

    /// Waits until the status of a task is this; returns it.
    fn state(&self, task: &str, state: &str) -> Value {
        eventually(&format!("{task} is {state}"), || {
            Some(self.object(&["status", task])).filter(|status| status["state"] == state)
        })
    }

    fn retry(&self, args: &[&str]) {
        let output = self.cli.run(&[&["dead", "retry"], args].concat());
        assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{}", output.stderr);
    }

    /// Succeeded, failed and cancelled tasks of a batch, and all that ended.
    async fn counts(&self, batch: BatchId) -> [u64; 4] {
        let record = self.client.batch_record(batch).await.unwrap().unwrap();
        let [succeeded, failed, cancelled] =
            [OutcomeKind::Succeeded, OutcomeKind::Failed, OutcomeKind::Cancelled].map(|kind| record.count(kind));
        [succeeded, failed, cancelled, record.ended()]
    }

    /// Waits until all tasks of a batch have ended.
    async fn ended(&self, batch: BatchId, tasks: u64) {
        while self.client.batch_record(batch).await.unwrap().is_none_or(|record| record.ended() < tasks) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn worker() -> WorkerOptions {
    WorkerOptions::new().program(env!("CARGO_BIN_EXE_poison-worker")).arg("--lease 600s --grace 100ms")
}

fn rows(output: Output) -> Vec<Value> {
    serde_json::from_str(&output.ok()).unwrap()
}

fn one(output: Output) -> Value {
    let mut rows = rows(output);
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_its_own_keeps_id_and_history() {
    let scene = Scene::start().await;
    let path = scene.path("it");
    let task = scene.client.submit_dyn::<()>("needs", &path, &SubmitOptions::new()).await.unwrap().id();
    let id = task.to_string();
    let first = scene.state(&id, "failed");
    scene.retry(&[&id]);
    let again = eventually("it has failed again", || {
        let dead = scene.object(&["status", &id]);
        dead["history"].as_array().is_some_and(|ends| ends.len() == 1 && dead["state"] == "failed").then_some(dead)
    });
    assert_eq!(again["history"][0]["buried_at"], first["buried_at"]);
    assert_eq!((&again["history"][0]["reason"], &again["attempt"]), (&"failed".into(), &1.into()));
    assert_eq!(scene.counts(task.batch).await, [0, 1, 0, 1]);
    assert_eq!(scene.object(&["dead", "show", &id])["history"], again["history"]);
    scene.create("it");
    scene.retry(&[&id]);
    assert!(scene.state(&id, "succeeded")["run_ms"].is_u64());
    assert_eq!(scene.counts(task.batch).await, [1, 0, 0, 1]);
    assert_eq!(scene.client.queues().await.unwrap()[0].dead_tasks, 0);
    assert_eq!(scene.cli.run(&["dead", "show", &id]).code, 5);
    assert_eq!(scene.cli.run(&["dead", "retry", &id]).code, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_counters_of_a_finished_batch_stay_right() {
    let scene = Scene::start().await;
    scene.create("there");
    let batch = scene.batch(&["there", "a", "there", "b"]).await;
    scene.ended(batch, 4).await;
    assert_eq!(scene.counts(batch).await, [2, 2, 0, 4]);
    scene.create("a");
    scene.retry(&["--batch", &batch.to_string(), "--reason", "failed", "--yes"]);
    // One of them fails again.
    scene.ended(batch, 4).await;
    assert_eq!(scene.counts(batch).await, [3, 1, 0, 4]);
    scene.create("b");
    scene.retry(&["--all", "--yes"]);
    scene.ended(batch, 4).await;
    assert_eq!(scene.counts(batch).await, [4, 0, 0, 4]);
    let record = scene.client.batch_record(batch).await.unwrap().unwrap();
    assert_eq!((record.state, record.total), (BatchState::Finished, Some(4)));
    assert!(results::<()>(&scene.client, batch).await.values().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_gone_comes_back_with_what_is_retried() {
    let mut scene = Scene::start().await;
    let batch = scene.batch(&["a", "b", "c"]).await;
    scene.ended(batch, 3).await;
    let hash = scene.redis.keys().batch(batch);
    // Its time is over: the next tick of the agent finds that.
    scene.redis.command::<()>(&format!("HSET {hash} finished_at_ms 1 touched_at_ms 1"));
    scene.redis.command::<()>(&format!("ZADD {{gm}}:batches 1 {batch}"));
    eventually("the batch is gone", || scene.redis.matching(&hash).is_empty().then_some(()));
    let task = batch.task(1).to_string();
    let status = scene.object(&["status", &task]);
    assert_eq!((&status["state"], &status["kernel"]), (&"failed".into(), &"needs".into()), "its letter is there");
    assert_eq!(scene.cli.run(&["status", &batch.to_string()]).code, 5);
    scene.create("b");
    scene.retry(&[&task]);
    scene.state(&task, "succeeded");
    assert_eq!(scene.counts(batch).await, [1, 0, 0, 1]);
    let record = scene.client.batch_record(batch).await.unwrap().unwrap();
    assert_eq!((record.state, record.total), (BatchState::Finished, Some(1)));
    assert_eq!(scene.client.queues().await.unwrap()[0].dead_tasks, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_a_cancelled_batch_runs_when_it_is_retried() {
    let scene = Scene::start().await;
    let paths = [scene.path("it"), scene.path("gate")];
    let batch = enqueue_messages(&scene.redis, "needs_or_waits", &paths, 1).await;
    let task = batch.task(0).to_string();
    scene.state(&task, "failed");
    scene.state(&batch.task(1).to_string(), "running");
    scene.client.cancel_unstarted(batch).await.unwrap();
    let refused = scene.cli.run(&["dead", "retry", &task]);
    assert_eq!(refused.code, 6, "{}", refused.stderr);
    assert!(refused.stderr.contains("is cancelled") && refused.stderr.contains("finished"), "{}", refused.stderr);
    scene.create("gate");
    scene.ended(batch, 2).await;
    scene.create("it");
    scene.retry(&[&task]);
    scene.state(&task, "succeeded");
    assert_eq!(scene.counts(batch).await, [2, 0, 0, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_and_an_ordered_death_are_told_apart() {
    let mut scene = Scene::start().await;
    let path = scene.path("gate");
    let task = scene.client.submit_dyn::<u16>("wait_for", &path, &SubmitOptions::new()).await.unwrap();
    let id = task.id().to_string();
    let running = |scene: &Scene, losses: u64| {
        eventually("its worker shows that it runs", || {
            let status = scene.object(&["status", &id]);
            (status["state"] == "running" && status["losses"] == losses).then_some(status)
        })
    };
    let first = running(&scene, 0);
    assert_eq!((&first["place"], &first["attempt"]), (&"claimed".into(), &1.into()));
    assert!(first["progress"].as_str().unwrap().contains(&path) && first["rss_bytes"].is_u64(), "{first}");
    scene.worker.consumer(first["consumer"].as_str().unwrap()).signal(Signal::SIGKILL);
    let second = running(&scene, 1);
    assert_eq!(second["crashes"], 0);
    assert_ne!(second["consumer"], first["consumer"]);
    // The grace is too short for it.
    scene.worker.drain();
    let waits = scene.object(&["status", &id]);
    assert_eq!((&waits["state"], &waits["place"]), (&"waiting".into(), &"ready".into()));
    assert_eq!([&waits["losses"], &waits["crashes"], &waits["attempt"]], [1, 0, 1], "an ordered death costs nothing");
    let died = scene.worker.log.events(events::CONSUMER_DIED);
    assert_eq!(died.iter().map(|line| line.text("cause").to_owned()).collect::<Vec<_>>(), ["loss"]);
    scene.create("gate");
    scene.worker = worker().start(&scene.redis);
    assert_eq!(task.result().await.unwrap(), 1);
}
