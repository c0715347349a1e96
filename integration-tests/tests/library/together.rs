//! Several handles at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use gristmill::{BatchId, ClientError, Handle, OutcomeKind, TaskError, Until};
use gristmill::{as_completed, gather, try_gather, wait};
use gristmill_kernels::test_kernels::fail;
use gristmill_kernels::{sleep, square, sum_sqrt};

use tokio::time::timeout;

use crate::{PATIENCE, Scene, soon};

#[derive(Debug, PartialEq)]
enum Answer {
    Square(i64),
    Sum(f64),
    Slept,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_of_several_kernels_come_as_their_tasks_end() {
    let scene = Scene::start(2).await;
    let client = &scene.client;
    let slow = client.submit(sleep, 60.0).await.unwrap();
    let slept = slow.clone().map(|()| Answer::Slept);
    let squared = client.submit(square, 7).await.unwrap().map(Answer::Square);
    let sum = client.submit(sum_sqrt, 4).await.unwrap().map(Answer::Sum);
    let mut ended = as_completed([slept, squared, sum]);
    let mut answers = Vec::new();
    for remaining in [2, 1] {
        answers.push(soon(ended.next()).await.unwrap().1.unwrap());
        assert_eq!(ended.remaining(), remaining);
    }
    assert!(answers.contains(&Answer::Square(49)) && answers.contains(&Answer::Sum(sum_sqrt(4))));
    assert!(slow.cancel().await.unwrap());
    let (handle, result) = soon(ended.next()).await.unwrap();
    assert_eq!((handle.id(), result.unwrap_err().kind()), (slow.id(), Some(OutcomeKind::Cancelled)));
    assert!(soon(ended.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_and_unknown_tasks_come_like_results() {
    let scene = Scene::start(2).await;
    let client = &scene.client;
    let batch = client.map(square, 0..5).await.unwrap().detach().await.unwrap();
    let unknown = BatchId::new().task(0);
    let ids = [batch.task(3), unknown, batch.task(9), batch.task(1), batch.task(3)];
    let mut results = soon(gather(ids.map(|id| client.handle::<i64>(id)))).await.into_iter();
    assert_eq!(results.next().unwrap().unwrap(), 9);
    let error = results.next().unwrap().unwrap_err();
    assert!(matches!(error, TaskError::Client(ClientError::NoSuchBatch(id)) if id == unknown.batch), "{error}");
    let error = results.next().unwrap().unwrap_err();
    assert!(matches!(error, TaskError::Client(ClientError::NoSuchTask(id)) if id == batch.task(9)), "{error}");
    assert_eq!(results.map(Result::unwrap).collect::<Vec<_>>(), [1, 9], "also one that is asked for twice");
    assert!(gather(Vec::<Handle<i64>>::new()).await.is_empty());

    let slow = client.submit(sleep, 60.0).await.unwrap().map(|()| 0);
    let bad = client.submit(fail, ("no".into(), 9)).await.unwrap();
    let error = soon(try_gather([slow.clone(), bad.clone()])).await.unwrap_err();
    assert_eq!(error.task(), Some(bad.id()));
    assert!(!slow.status().await.unwrap().has_ended(), "the others go on");
    assert!(slow.cancel().await.unwrap());
    assert_eq!(soon(slow.outcome()).await.unwrap(), OutcomeKind::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_or_all_are_waited_for_and_no_longer_than_wanted() {
    let scene = Scene::start(2).await;
    let client = &scene.client;
    let slow = client.submit(sleep, 60.0).await.unwrap().map(|()| 0);
    let quick = client.submit(square, 3).await.unwrap();
    let waited = soon(wait([slow.clone(), quick.clone()], Until::First, None)).await;
    assert_eq!((waited.done[0].0.id(), waited.done[0].1.as_ref().unwrap()), (quick.id(), &9));
    assert_eq!(waited.not_done.iter().map(Handle::id).collect::<Vec<_>>(), [slow.id()]);

    let bad = client.submit(fail, ("no".into(), 9)).await.unwrap().map(i64::from);
    let waited = soon(wait([slow.clone(), quick.clone(), bad.clone()], Until::FirstError, None)).await;
    assert_eq!(waited.done.len() + waited.not_done.len(), 3);
    assert!(waited.done.iter().any(|(handle, result)| handle.id() == bad.id() && result.is_err()));

    let (began, limit) = (Instant::now(), Duration::from_millis(100));
    let waited = soon(wait([slow.clone(), quick.clone()], Until::All, Some(limit))).await;
    assert!(began.elapsed() >= limit && began.elapsed() < Duration::from_secs(10));
    assert_eq!((waited.done.len(), waited.not_done.len()), (1, 1));
    assert!(slow.cancel().await.unwrap());
    let waited = soon(wait([slow, quick], Until::All, Some(Duration::from_secs(60)))).await;
    assert_eq!((waited.done.len(), waited.not_done.len()), (2, 0));
}

/// Commands that Redis has run so far, by name.
fn calls(scene: &mut Scene, name: &str) -> u64 {
    let text: String = scene.redis.command("INFO commandstats");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_handles_cost_one_look_each_and_nobody_polls() {
    const HANDLES: i64 = 10_000;
    let mut scene = Scene::start(1).await;
    let client = scene.client.clone();
    let _: () = scene.redis.command("SADD {gm}:paused default");
    let submitted = stream::iter(0..HANDLES).map(|n| client.submit(square, n)).buffer_unordered(64);
    let handles: Vec<Handle<i64>> = soon(submitted.map(Result::unwrap).collect()).await;
    let names = ["hmget", "pttl", "subscribe", "hget", "lrange"];
    let before = names.map(|name| calls(&mut scene, name));
    let mut ended = as_completed(handles);
    // All of them are waited for before the first ends.
    let began = Instant::now();
    while calls(&mut scene, "pttl") - before[1] < HANDLES as u64 {
        assert!(timeout(Duration::from_millis(50), ended.next()).await.is_err(), "nothing runs");
        assert!(began.elapsed() < PATIENCE);
    }
    let looked = names.map(|name| calls(&mut scene, name));
    let _: () = scene.redis.command("SREM {gm}:paused default");
    client.submit(square, 0).await.unwrap();
    let mut seen = BTreeSet::new();
    while let Some((handle, result)) = soon(ended.next()).await {
        result.unwrap();
        assert!(seen.insert(handle.id()));
    }
    assert_eq!(seen.len() as i64, HANDLES);
    let after = names.map(|name| calls(&mut scene, name));
    let spent = |from: &[u64], to: &[u64]| -> Vec<u64> { to.iter().zip(from).map(|(to, from)| to - from).collect() };
    let (looking, ending) = (spent(&before, &looked), spent(&looked, &after));
    // One question of two commands each, and some hundred subscriptions at a time. The worker asks a little, too.
    assert!(looking[0] < 10_100 && looking[1] < 10_100 && looking[2] < 100, "{looking:?}");
    // Then results come with the word that they are there, and nobody looks again. (HMGET is also what scripts ask.)
    assert!(ending[1] < 100 && ending[2] < 100 && ending[3] < 1_000, "{ending:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tasks_of_one_batch_are_read_together() {
    const TASKS: u64 = 10_000;
    let mut scene = Scene::start(1).await;
    let batch = scene.client.map(square, 0..TASKS as i64).await.unwrap().detach().await.unwrap();
    soon(scene.client.batch(batch).wait()).await.unwrap();
    let names = ["hmget", "hget", "lrange", "pttl", "subscribe", "llen"];
    let before: u64 = names.map(|name| calls(&mut scene, name)).iter().sum();
    let handles = (0..TASKS).map(|index| scene.client.handle::<i64>(batch.task(index)));
    let results = soon(try_gather(handles)).await.unwrap();
    assert_eq!(results, (0..TASKS as i64).map(|n| n * n).collect::<Vec<_>>());
    let after: u64 = names.map(|name| calls(&mut scene, name)).iter().sum();
    assert!(after - before < TASKS / 4, "{} calls", after - before);
}
