//! When shared input comes, stays and goes.

use std::time::Duration;

use gristmill::{ClientError, OutcomeKind, Revived, SubmitOptions, WhenFull};
use gristmill_integration_tests::{Redis, WorkerOptions, eventually};
use gristmill_kernels::test_kernels::sum_shared;

use crate::{MIB, ended, key, noise, parts, sum};

fn options(bytes: &[u8]) -> SubmitOptions {
    SubmitOptions::new().shared_bytes(bytes.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_input_is_gone_fails_at_once_and_is_not_retried() {
    let mut redis = Redis::start();
    let client = redis.client().await;
    let bytes = noise(9 * MIB);
    let task = client.submit_with(sum_shared, (0, 1), &options(&bytes).retries(9)).await.unwrap();
    let found = parts(&mut redis);
    assert_eq!(found.len(), 2);
    // The last: nothing of the first is moved for a task that cannot run.
    redis.command::<()>(&format!("DEL {}", found[1]));
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let failure = ended(task.result().await);
    assert_eq!((failure.kind, failure.attempt), (OutcomeKind::Failed, 1));
    assert!(failure.message.contains("its shared input is gone"), "{failure}");
    let dead = client.dead_letter(&failure.task.to_string(), None).await.unwrap().expect("a dead letter");
    assert_eq!(client.retry_dead(&dead).await.unwrap(), Revived::SharedGone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_loses_while_the_batch_is_open_is_uploaded_again() {
    let mut redis = Redis::start();
    let client = redis.client().await;
    let bytes = noise(9 * MIB);
    let (items, source) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
    let source = futures::stream::unfold(source, async |mut source| Some((source.recv().await?, source)));
    let kernel = gristmill::KernelName::new("shared.sum").unwrap();
    let arg = |from: u64| gristmill_shared::codec::encode(&(from, 100u64)).unwrap();
    items.send(arg(0)).unwrap();
    let mut map = client.map_raw(&kernel, source, &options(&bytes)).await.unwrap();
    eventually("the first is enqueued", || (redis.depth() == 1).then_some(()));
    redis.command::<()>(&format!("DEL {}", key(map.id(), 1)));
    // The parts are checked once a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    items.send(arg(8 * MIB as u64)).unwrap();
    drop(items);
    eventually("both are enqueued", || (redis.depth() == 2).then_some(()));
    assert_eq!(parts(&mut redis).len(), 2);
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    for from in [0, 8 * MIB] {
        let output = map.next().await.unwrap().unwrap();
        let (found, _): (u64, u32) = gristmill_shared::codec::decode(&output).unwrap();
        assert_eq!(found, sum(&bytes[from..from + 100]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_known_key_would_share_is_not_uploaded() {
    let mut redis = Redis::start();
    let client = redis.client().await;
    let keyed = |bytes: &[u8]| options(bytes).key("k");
    let uploads = |redis: &mut Redis| {
        let counts: String = redis.command("INFO commandstats");
        counts.lines().find_map(|line| line.strip_prefix("cmdstat_set:").map(str::to_owned)).expect("uploads")
    };
    let bytes = noise(9 * MIB);
    let first = client.submit_with(sum_shared, (0, 1), &keyed(&bytes)).await.unwrap();
    let (before, stored) = (uploads(&mut redis), parts(&mut redis));
    assert_eq!(stored.len(), 2);
    let again = client.submit_with(sum_shared, (0, 1), &keyed(&bytes)).await.unwrap();
    assert!(again.was_known() && again.id() == first.id());
    let Err(error) = client.submit_with(sum_shared, (0, 1), &keyed(&bytes[1..])).await else { panic!("other work") };
    assert!(matches!(error, ClientError::KeyReused { .. }) && error.to_string().contains("shared"), "{error}");
    assert_eq!((uploads(&mut redis), parts(&mut redis)), (before, stored));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stays_for_dead_letters_as_long_as_its_batch() {
    let mut redis = Redis::start();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    let bytes = noise(100_000);
    let items = vec![(0, 10), (99_999, 10), (10, 10)];
    let map = client.map_with(sum_shared, items, &options(&bytes)).await.unwrap();
    let id = map.id();
    let results = map.collect_all().await.unwrap();
    assert!(results[0].is_ok() && results[2].is_ok());
    let failure = ended(results.into_iter().nth(1).unwrap());
    assert!(failure.message.contains("there are only 100000 bytes"), "{failure}");
    assert_eq!(parts(&mut redis), [key(id, 0)]);
    let dead = client.dead_letter(&failure.task.to_string(), None).await.unwrap().expect("a dead letter");
    assert_eq!(client.retry_dead(&dead).await.unwrap(), Revived::Done);
    let again = eventually("it failed again, for its own reason", || {
        redis.command::<Option<u64>>("ZCARD {gm}:dead:default").filter(|&letters| letters == 1)
    });
    assert_eq!(again, 1);
    assert!(redis.command::<i64>(&format!("PTTL {}", key(id, 0))) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_enqueued_leaves_nothing() {
    let mut redis = Redis::start();
    let client = redis.client().await;
    let bytes = noise(9 * MIB);
    client.submit_dyn::<()>("sleep", &0.0, &SubmitOptions::new()).await.unwrap();
    redis.command::<()>("HSET {gm}:queue:default depth_limit 1");
    let refused = client.submit_with(sum_shared, (0, 1), &options(&bytes)).await.err();
    assert!(matches!(refused, Some(ClientError::QueueFull { .. })), "{refused:?}");
    assert!(parts(&mut redis).is_empty());
    let mut map = client.map_with(sum_shared, vec![(0, 1)], &options(&bytes).when_full(WhenFull::Fail)).await.unwrap();
    assert!(map.next().await.unwrap().is_err());
    eventually("a refused map leaves nothing", || parts(&mut redis).is_empty().then_some(()));
    // One that waits for room, and is given up.
    let map = client.map_with(sum_shared, vec![(0, 1)], &options(&bytes)).await.unwrap();
    eventually("it is uploaded", || (parts(&mut redis).len() == 2).then_some(()));
    drop(map);
    eventually("who gives up leaves nothing", || parts(&mut redis).is_empty().then_some(()));
    let map = client.map_with(sum_shared, Vec::new(), &options(&bytes)).await.unwrap();
    assert!(map.collect().await.unwrap().is_empty());
    assert!(parts(&mut redis).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_nobody_follows_up_expires() {
    let mut redis = Redis::start();
    let client = redis.client().await;
    client.submit_dyn::<()>("sleep", &0.0, &SubmitOptions::new()).await.unwrap();
    redis.command::<()>("HSET {gm}:queue:default depth_limit 1");
    let _map = client.map_with(sum_shared, vec![(0, 1)], &options(&noise(1000))).await.unwrap();
    let part = eventually("it is uploaded", || parts(&mut redis).pop());
    let left = Duration::from_millis(redis.command(&format!("PTTL {part}")));
    assert!(left > Duration::from_secs(3600) && left <= Duration::from_secs(2 * 3600), "{left:?}");
}
