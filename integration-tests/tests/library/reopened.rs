//! Tasks and batches that are opened again by their ids, elsewhere and later.

use std::time::Duration;

use gristmill::{BatchId, BatchState, Client, ClientError, Handle, OutcomeKind, SubmitOptions, TaskError, TaskId};
use gristmill_integration_tests::eventually;
use gristmill_kernels::test_kernels::fail;
use gristmill_kernels::{sleep, square};

use crate::{PATIENCE, Scene, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_were_stored_open_the_same_task_and_batch() {
    let scene = Scene::start(2).await;
    let map = scene.client.map(square, 0..1000).await.unwrap().detach().await.unwrap();
    let stored =
        serde_json::to_string(&(map, map.task(7), scene.client.submit(square, 9).await.unwrap().id())).unwrap();

    let elsewhere = scene.redis.client().await;
    let (batch, one, single): (BatchId, TaskId, TaskId) = serde_json::from_str(&stored).unwrap();
    assert_eq!(soon(elsewhere.handle::<i64>(single).result()).await.unwrap(), 81);
    assert_eq!(soon(elsewhere.handle::<i64>(one).result()).await.unwrap(), 49);
    let reopened: TaskId = one.to_string().parse().unwrap();
    assert!(elsewhere.handle::<i64>(reopened).exists().await.unwrap());

    let batch = elsewhere.batch(batch);
    let record = soon(batch.wait()).await.unwrap();
    assert_eq!((record.state, record.count(OutcomeKind::Succeeded)), (BatchState::Finished, 1000));
    let progress = batch.progress().await.unwrap();
    assert_eq!((progress.ended, progress.complete, progress.fraction()), (1000, true, 1.0));
    let expected: Vec<i64> = (0..1000).map(|n| n * n).collect();
    assert_eq!(soon(batch.collect::<i64>()).await.unwrap(), expected);
    assert_eq!(soon(batch.collect::<i64>()).await.unwrap(), expected, "as often as wanted");
    assert_eq!(soon(batch.task::<i64>(3).result()).await.unwrap(), 9);
    assert!(!batch.cancel().await.unwrap(), "it has finished");

    // Tasks that take their time are stored one by one.
    let options = SubmitOptions::new().chunk(1);
    let alone = scene.client.map_with(sleep, [0.1; 3], &options).await.unwrap().detach().await.unwrap();
    let alone = scene.client.batch(alone);
    soon(alone.wait()).await.unwrap();
    assert!(alone.task::<()>(1).forget().await.unwrap());
    assert!(matches!(soon(alone.task::<()>(1).result()).await, Err(TaskError::Delivered(_))));
    soon(alone.task::<()>(2).result()).await.unwrap();
    assert!(!batch.task::<i64>(3).forget().await.unwrap(), "it came in a chunk, and is stored with others");
    batch.forget().await.unwrap();
    let error = soon(batch.task::<i64>(3).result()).await.unwrap_err();
    assert!(matches!(error, TaskError::Delivered(task) if task.index == 3), "{error}");
    assert_eq!(batch.status().await.unwrap().ended(), 1000, "the counters stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_waited_for_watched_and_cancelled_by_its_id() {
    let scene = Scene::start(1).await;
    let options = SubmitOptions::new().chunk(1);
    let long = scene.client.map_with(sleep, vec![60.0; 20], &options).await.unwrap().detach().await.unwrap();
    let long = scene.client.batch(long);
    assert!(long.wait_timeout(Duration::from_millis(50)).await.unwrap().is_none());
    let progress = long.progress().await.unwrap();
    assert_eq!((progress.tasks, progress.complete, progress.fraction()), (20, true, 0.0));
    assert!(long.cancel().await.unwrap());
    let record = soon(long.wait_timeout(PATIENCE)).await.unwrap().unwrap();
    assert_eq!(record.count(OutcomeKind::Cancelled), 20);
    let all = soon(long.collect_all::<()>()).await.unwrap();
    assert!(all.len() == 20 && all.iter().all(|result| result.is_err()));

    let args = (0..10).map(|n| ("no".to_owned(), if n == 3 { 9 } else { 0 }));
    let mixed = scene.client.batch(scene.client.map(fail, args).await.unwrap().detach().await.unwrap());
    let all = soon(mixed.collect_all::<u16>()).await.unwrap();
    assert_eq!(all.iter().map(Result::is_ok).collect::<Vec<_>>(), (0..10).map(|n| n != 3).collect::<Vec<_>>());
    assert_eq!(soon(mixed.collect::<u16>()).await.unwrap_err().task(), Some(mixed.id().task(3)));
}

fn is_no_batch<T>(result: Result<T, impl Into<TaskError>>, batch: BatchId) -> bool {
    matches!(result.err().map(Into::into), Some(TaskError::Client(ClientError::NoSuchBatch(id))) if id == batch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_is_an_error_and_never_waited_for() {
    let scene = Scene::start(1).await;
    let client = &scene.client;
    let unknown = BatchId::new();
    let handle: Handle<i64> = client.handle(unknown.task(0));
    assert!(is_no_batch(soon(handle.result()).await, unknown));
    assert!(is_no_batch(handle.try_result().await, unknown));
    assert!(is_no_batch(soon(handle.outcome()).await, unknown));
    assert!(is_no_batch(handle.status().await, unknown));
    assert!(is_no_batch(handle.cancel().await, unknown));
    assert!(is_no_batch(handle.forget().await, unknown));
    assert!(!handle.exists().await.unwrap());
    let batch = client.batch(unknown);
    assert!(is_no_batch(soon(batch.wait()).await, unknown) && is_no_batch(batch.status().await, unknown));
    assert!(is_no_batch(soon(batch.collect::<i64>()).await, unknown) && is_no_batch(batch.cancel().await, unknown));
    assert!(is_no_batch(batch.progress().await, unknown) && is_no_batch(batch.forget().await, unknown));
    assert!(!batch.exists().await.unwrap());

    let known = client.submit(square, 7).await.unwrap();
    let beyond: Handle<i64> = client.handle(known.id().batch.task(1));
    for error in [soon(beyond.result()).await.unwrap_err(), beyond.status().await.unwrap_err().into()] {
        assert!(matches!(error, TaskError::Client(ClientError::NoSuchTask(task)) if task == beyond.id()), "{error}");
    }
    assert!(beyond.cancel().await.is_err() && !beyond.exists().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_what_expires_learns_of_it() {
    let mut scene = Scene::start(1).await;
    let slow = |client: Client| async move { client.submit(sleep, 60.0).await.unwrap() };
    let handle = slow(scene.client.clone()).await;
    let batch = handle.id().batch;
    assert_eq!(scene.redis.command::<u8>(&format!("PEXPIRE {{gm}}:batch:{batch} 500")), 1);
    let (waiting, asked) = (tokio::spawn(async move { handle.await }), scene.client.batch(batch));
    assert!(is_no_batch(soon(asked.wait()).await, batch));
    assert!(is_no_batch(soon(waiting).await.unwrap(), batch));

    // A batch of several does not expire: agents delete it when its time is over.
    let batch = scene.client.map(sleep, vec![60.0; 3]).await.unwrap().detach().await.unwrap();
    let asked = scene.client.batch(batch);
    let (one, whole) = (asked.task::<()>(1), asked.clone());
    let waiting = [
        tokio::spawn(async move { one.await }),
        tokio::spawn(async move { whole.wait().await.map(drop).map_err(Into::into) }),
    ];
    eventually("both wait", || {
        let counts: Vec<String> = scene.redis.command(&format!("PUBSUB NUMSUB {{gm}}:done:{batch}"));
        (counts[1] == "1").then_some(())
    });
    scene.redis.command::<u8>(&format!("HSET {{gm}}:batch:{batch} touched_at_ms 1 last_expiry_ms 1"));
    scene.redis.command::<u8>(&format!("ZADD {{gm}}:batches 1 {batch}"));
    for ended in waiting {
        assert!(is_no_batch(soon(ended).await.unwrap(), batch));
    }
}
