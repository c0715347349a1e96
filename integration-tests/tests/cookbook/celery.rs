//! The verbs of Celery: options of `apply_async`, `AsyncResult`, groups and their results.

use std::time::{Duration, SystemTime};

use gristmill::{
    BatchState, Client, ClientError, Lane, OutcomeKind, SubmitOptions, TaskError, TaskId, TaskStatus, gather,
    try_gather,
};
use gristmill_kernels::test_kernels::{fail, lookup, spin};
use gristmill_kernels::{monte_carlo_pi, sleep, square};
use tokio::time::timeout;

use crate::{Outcome, Scene};

/// What the options make of it.
async fn square_with(client: &Client, options: SubmitOptions) -> Result<i64, TaskError> {
    client.submit_with(square, 7, &options).await?.await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;
    let time = Duration::from_millis(200);

    assert_eq!(square_with(client, SubmitOptions::new().delay(time)).await?, 49);
    let when = SystemTime::now() + time;
    assert_eq!(square_with(client, SubmitOptions::new().at(when)).await?, 49);
    assert_eq!(square_with(client, SubmitOptions::new().lane(Lane::High)).await?, 49);
    assert_eq!(square_with(client, SubmitOptions::new().result_ttl(Duration::from_secs(600))).await?, 49);
    assert_eq!(square_with(client, SubmitOptions::new().label("run", "7")).await?, 49);
    assert_eq!(square_with(client, SubmitOptions::new().soft_time_limit(time)).await?, 49);
    let images = client.submit_with(square, 7, &SubmitOptions::new().queue("images".parse()?)).await?;
    let expired = SubmitOptions::new().queue("images".parse()?).expires_after(time);
    let expired = client.submit_with(square, 7, &expired).await?;
    assert!(images.exists().await?, "nobody serves that queue");
    assert!(!expired.status().await?.has_ended());

    let attempts = SubmitOptions::new().retries(3).backoff(Duration::from_millis(1), Duration::from_millis(10));
    assert_eq!(client.submit_with(fail, ("not yet".into(), 2), &attempts).await?.await?, 3);
    let limits = SubmitOptions::new().time_limit(time);
    let error = client.submit_with(spin, 60_000, &limits).await?.await.unwrap_err();
    assert_eq!(error.kind(), Some(OutcomeKind::TimedOut));

    let quiet = client.submit_with(square, 7, &SubmitOptions::new().ignore_result(true)).await?;
    assert_eq!(quiet.outcome().await?, OutcomeKind::Succeeded);
    assert!(matches!(quiet.result().await, Err(TaskError::NotKept(_))));

    let once = SubmitOptions::new().key("nightly-2026-11-22");
    let first = client.submit_with(square, 7, &once).await?;
    let again = client.submit_with(square, 7, &once).await?;
    assert!(again.was_known() && again.id() == first.id());
    let other = client.submit_with(square, 8, &once).await;
    assert!(matches!(other, Err(ClientError::KeyReused { .. })));

    let dynamic = client.submit_dyn::<i64>("square", &7, &SubmitOptions::new()).await?;
    assert_eq!(dynamic.await?, 49);
    assert_eq!(client.submit(monte_carlo_pi, (1000, 1)).await?.await?.samples, 1000);
    let patient = Client::builder().endpoint(scene.redis.url()).patience(Duration::from_secs(5)).connect().await?;
    assert_eq!(patient.submit(square, 7).await?.await?, 49);
    let options = SubmitOptions::new().label("team", "film");
    let film = Client::builder().endpoint(scene.redis.url()).kernel_defaults(square, options).connect().await?;
    let labelled = film.submit(square, 7).await?;
    assert_eq!(film.batch(labelled.id().batch).status().await?.labels["team"], "film");
    assert!(square(7).is_ok_and(|squared| squared == 49), "a kernel is a function");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn async_results() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;
    let id: TaskId = client.submit(square, 7).await?.id();

    let handle = client.handle::<i64>(id);
    assert_eq!(handle.result().await?, 49);
    println!("{:?}", handle.status().await?);
    assert_eq!(handle.id(), id.to_string().parse()?);
    let record = client.batch(id.batch).status().await?;
    assert!(record.kernel == "square" && record.finished_at_ms.is_some());
    assert!(handle.progress().await?.is_none(), "it does not run");
    assert!(handle.forget().await?);
    assert!(!handle.exists().await?);
    assert!(handle.result().await.is_err(), "an id that nobody knows is an error, not a wait for ever");

    let bad = client.submit(fail, ("no".into(), 9)).await?;
    if let Err(TaskError::Ended(failure)) = bad.result().await {
        println!("{}, attempt {}, {:?}", failure.message, failure.attempt, failure.place());
    }
    assert!(bad.outcome().await? == OutcomeKind::Failed);
    assert!(bad.try_result().await.is_err());
    let slow = client.submit(sleep, 60.0).await?;
    let time = Duration::from_millis(100);
    assert!(matches!(slow.result_timeout(time).await, Err(TaskError::Timeout { .. })), "and the task goes on");
    let host = async {
        loop {
            if let Ok(TaskStatus::Running { host, .. }) = slow.status().await {
                break host;
            }
        }
    };
    assert!(!timeout(Duration::from_secs(30), host).await?.is_empty());
    assert!(slow.cancel().await?);
    let workers = client.workers().await?;
    assert_eq!(workers[0].fields["consumers"], "2");
    assert_eq!(timeout(Duration::from_secs(30), slow.outcome()).await??, OutcomeKind::Cancelled);
    Ok(())
}

/// A set of results is a vector of handles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn result_sets() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;
    let (three, four) = (client.submit(square, 3).await?, client.submit(square, 4).await?);
    let mut handles = vec![three.clone()];
    handles.push(four.clone());
    assert_eq!(try_gather(handles.clone()).await?, [9, 16]);
    handles.retain(|handle| handle.id() != three.id());
    assert_eq!(gather(handles).await.len(), 1);
    let bad = client.submit(fail, ("no".into(), 9)).await?.map(i64::from);
    assert!(try_gather([four, bad]).await.is_err(), "as soon as one has failed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;
    let id = client.map(square, 0..100).await?.detach().await?;

    let batch = client.batch(id);
    batch.wait().await?;
    assert_eq!(batch.collect::<i64>().await?.len(), 100);
    let mut results = batch.results::<i64>();
    while let Some((index, result)) = results.next().await {
        assert_eq!(result?, (index * index) as i64);
    }
    assert_eq!(batch.progress().await?.ended, 100);
    let record = batch.status().await?;
    assert!(record.state == BatchState::Finished && record.count(OutcomeKind::Failed) == 0);
    assert!(batch.wait_timeout(Duration::from_secs(1)).await?.is_some());
    assert_eq!(record.tasks, 100);
    assert_eq!(batch.task::<i64>(7).result().await?, 49);
    assert_eq!(batch.id(), batch.id().to_string().parse()?);
    batch.forget().await?;

    let batch = client.batch(client.map(fail, [("a".into(), 0), ("b".into(), 9)]).await?.detach().await?);
    assert!(batch.collect::<u16>().await.is_err(), "with the first failure");
    let all = batch.collect_all::<u16>().await?;
    assert!(all[0].is_ok() && all[1].is_err());
    assert_eq!(batch.status().await?.count(OutcomeKind::Failed), 1);

    let waiting = client.with(SubmitOptions::new().delay(Duration::from_secs(3600)));
    let batch = client.batch(waiting.map(square, 0..100).await?.detach().await?);
    assert!(batch.wait_timeout(Duration::from_millis(100)).await?.is_none());
    assert!(batch.cancel().await?);
    assert_eq!(batch.wait().await?.count(OutcomeKind::Cancelled), 100);

    let prices = std::collections::BTreeMap::from([("apple", 3), ("pear", 4)]);
    let shop = client.with(SubmitOptions::new().shared(&prices));
    let found = shop.map(lookup, ["pear".to_owned(), "plum".to_owned()]).await?.collect().await?;
    assert_eq!(format!("{found:?}"), "[UInt(4), Nil]");
    Ok(())
}
