//! The verbs without async, on plain threads and, wrongly, inside of a runtime.

use std::time::{Duration, Instant};

use gristmill::blocking::{Client, Handle, as_completed, gather, try_gather, wait};
use gristmill::{ClientError, OutcomeKind, SubmitOptions, TaskError, Until};
use gristmill_integration_tests::{Redis, WorkerOptions, WorkerProcess};
use gristmill_kernels::test_kernels::fail;
use gristmill_kernels::{sleep, square};

fn scene() -> (Client, WorkerProcess, Redis) {
    let redis = Redis::start();
    let worker = WorkerOptions::new().consumers(2).test_kernels().start(&redis);
    (Client::connect(redis.url()).unwrap(), worker, redis)
}

#[test]
fn every_verb_works_on_plain_threads() {
    let (client, _worker, _redis) = scene();
    let handle = client.submit(square, 7).unwrap();
    assert_eq!((handle.result().unwrap(), handle.try_result().unwrap()), (49, Some(49)));
    assert!(
        handle.status().unwrap().has_succeeded() && handle.exists().unwrap() && handle.progress().unwrap().is_none()
    );
    assert_eq!(client.handle::<i64>(handle.id()).map(|n| n + 1).result().unwrap(), 50);
    assert_eq!(handle.outcome().unwrap(), OutcomeKind::Succeeded);
    assert!(!handle.cancel().unwrap() && handle.forget().unwrap() && !handle.exists().unwrap());

    let squares: Result<Vec<i64>, TaskError> = client.map(square, 0..500).unwrap().collect();
    assert_eq!(squares.unwrap(), (0..500).map(|n| n * n).collect::<Vec<_>>());
    let sum: i64 = client.map_unordered(square, 0..500).unwrap().map(|(_, n)| n.unwrap()).sum();
    assert_eq!(sum, (0..500).map(|n| n * n).sum::<i64>());
    let torn = client.try_map(square, [Ok(1), Err("torn")]).unwrap().collect::<Vec<_>>();
    assert!(torn.len() == 2 && torn[1].as_ref().unwrap_err().to_string().contains("torn"));

    let slow = client.submit(sleep, 60.0).unwrap().map(|()| 0);
    let quick = client.submit(square, 3).unwrap();
    let bad = client.submit(fail, ("no".into(), 9)).unwrap().map(i64::from);
    let error = slow.result_timeout(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, TaskError::Timeout { .. }), "{error}");
    let ended: Vec<_> = as_completed([quick.clone(), bad.clone()]).collect();
    assert!(ended.len() == 2 && ended.iter().all(|(handle, result)| result.is_ok() == (handle.id() == quick.id())));
    let waited = wait([slow.clone(), quick.clone()], Until::First, None).unwrap();
    assert_eq!((waited.done.len(), waited.not_done.len()), (1, 1));
    let all = gather([bad.clone(), quick.clone()]).unwrap();
    assert!(all[0].is_err() && all[1].as_ref().unwrap() == &9);
    let mut either = as_completed([slow.clone().into_raw(), quick.clone().into_raw()]);
    assert_eq!(either.next().unwrap().1.unwrap(), [9], "MessagePack");
    assert_eq!(either.into_rest().iter().map(Handle::id).collect::<Vec<_>>(), [slow.id()]);
    assert_eq!(try_gather([quick.clone(), quick]).unwrap(), [9, 9]);
    assert!(slow.cancel().unwrap());
    assert_eq!(slow.outcome().unwrap(), OutcomeKind::Cancelled);

    let batch = client.batch(client.map(square, 0..10).unwrap().detach().unwrap());
    assert_eq!(batch.wait().unwrap().count(OutcomeKind::Succeeded), 10);
    assert_eq!(batch.results::<i64>().map(|(_, n)| n.unwrap()).sum::<i64>(), 285);
    assert_eq!(batch.collect::<i64>().unwrap().len(), batch.collect_all::<i64>().unwrap().len());
    assert_eq!(client.wait(client.inner().live_consumers()).unwrap().unwrap(), 2);
}

#[test]
fn a_map_gives_up_waiting_and_cancels_what_is_left_when_it_is_dropped() {
    let (client, _worker, mut redis) = scene();
    let client = client.with(SubmitOptions::new().chunk(1));
    let _: () = redis.command("SADD {gm}:paused default");
    let mut slept = client.map(sleep, vec![0.05; 100]).unwrap();
    let error = slept.next_timeout(Duration::from_millis(20)).unwrap().unwrap_err();
    assert!(matches!(error, TaskError::Timeout { .. }), "{error}");
    let _: () = redis.command("SREM {gm}:paused default");
    slept.next_timeout(Duration::from_secs(30)).unwrap().unwrap();
    let batch = client.batch(slept.id());
    drop(slept);
    // The cancel is there when the handle is gone: the program might end now.
    assert!(batch.status().unwrap().total.is_some());
    assert!(batch.wait().unwrap().count(OutcomeKind::Cancelled) > 0);
}

#[test]
fn threads_share_a_client_and_another_lives_in_each_thread() {
    let (client, _worker, redis) = scene();
    let url = redis.url();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (shared, url) = (client.clone(), url.clone());
            scope.spawn(move || {
                let own = Client::connect(url).unwrap();
                assert_eq!(own.handle::<i64>(shared.submit(square, n).unwrap().id()).result().unwrap(), n * n);
            });
        }
    });
}

/// A handle of each of three clients, which are gone: nothing but the handles keeps their connections.
fn of_gone_clients(redis: &Redis) -> Vec<gristmill::blocking::Handle<i64>> {
    let submit = |n| Client::connect(redis.url()).unwrap().submit(square, n).unwrap();
    (1..=3).map(submit).collect()
}

#[test]
fn handles_of_several_clients_outlive_them() {
    let (client, _worker, mut redis) = scene();
    let patient = Some(Duration::from_secs(30));
    let _: () = redis.command("SADD {gm}:paused default");
    // Nothing can have ended yet, so each client is needed once its handle is waited for.
    let (completed, waited, gathered, tried) =
        (of_gone_clients(&redis), of_gone_clients(&redis), of_gone_clients(&redis), of_gone_clients(&redis));
    let mut completed = as_completed(completed);
    let _: () = redis.command("SREM {gm}:paused default");
    let mut squares: Vec<_> = completed.by_ref().map(|(_, result)| result.unwrap()).collect();
    squares.sort_unstable();
    assert_eq!(squares, [1, 4, 9]);
    let done = wait(waited, Until::All, patient).unwrap().done;
    assert_eq!(done.len(), 3);
    // Each has its own client's runtime still, and not that of another which is gone.
    assert!(done.into_iter().all(|(handle, result)| handle.result().unwrap() == result.unwrap()));
    let gathered: Vec<_> = gather(gathered).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!((gathered, try_gather(tried).unwrap()), (vec![1, 4, 9], vec![1, 4, 9]));
    drop(client);
}

#[test]
fn unordered_results_are_timed_acknowledged_and_left() {
    let (client, _worker, mut redis) = scene();
    let client = client.with(SubmitOptions::new().acknowledge(true));
    let _: () = redis.command("SADD {gm}:paused default");
    let mut squares = client.map_unordered(square, [3]).unwrap();
    let (_, late) = squares.next_timeout(Duration::from_millis(20)).unwrap();
    assert!(matches!(late.unwrap_err(), TaskError::Timeout { .. }));
    let _: () = redis.command("SREM {gm}:paused default");
    assert_eq!(squares.next_timeout(Duration::from_secs(30)).unwrap().1.unwrap(), 9);
    squares.acknowledge(1);
    assert!(squares.next().is_none());
    let detached = client.map_unordered(square, 0..10).unwrap().detach().unwrap();
    assert_eq!(client.batch(detached).wait().unwrap().count(OutcomeKind::Succeeded), 10);
    // Without end, but left: what was enqueued runs, and no more comes.
    let left = client.map_unordered(square, 0..).unwrap();
    let batch = client.batch(left.leave().unwrap());
    let record = batch.wait().unwrap();
    assert_eq!(record.count(OutcomeKind::Succeeded), record.tasks);
    let mut ordered = client.map(square, [5]).unwrap();
    assert_eq!(ordered.next().unwrap().unwrap(), 25);
    ordered.acknowledge(1);
    assert!(ordered.next().is_none());
}

fn is_refused<T>(result: Result<T, impl Into<TaskError>>) -> bool {
    matches!(result.err().map(Into::into), Some(TaskError::Client(ClientError::InsideRuntime)))
}

#[test]
fn inside_of_a_runtime_it_says_so_and_stops_nobody() {
    let (client, _worker, redis) = scene();
    let handle = client.submit(square, 7).unwrap();
    let mut map = client.map(square, 0..3).unwrap();
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let error = Client::connect(redis.url()).err().unwrap();
        assert!(
            matches!(error, ClientError::InsideRuntime) && error.to_string().contains("gristmill::Client"),
            "{error}"
        );
        assert!(is_refused(client.submit(square, 8)) && is_refused(client.map(square, 0..3)));
        assert!(
            is_refused(handle.result()) && is_refused(handle.cancel()) && is_refused(client.batch(map.id()).wait())
        );
        assert!(is_refused(map.next().unwrap()) && map.next().is_none(), "told once, then over");
        assert_eq!(as_completed([handle.clone(), handle.clone()]).filter(|(_, result)| result.is_err()).count(), 2);
        assert!(is_refused(gather([handle.clone()])) && is_refused(wait([handle.clone()], Until::All, None)));
        // A thread of its own is what the error recommends.
        let handle = handle.clone();
        assert_eq!(std::thread::spawn(move || handle.result().unwrap()).join().unwrap(), 49);
        // Nor does it matter where the last of it is dropped.
        drop(client);
    });
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(map.map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 4], "outside it goes on");
    assert_eq!(handle.result().unwrap(), 49);
}

#[test]
fn without_redis_it_gives_up_and_says_where_it_looked() {
    let builder = gristmill::Client::builder().endpoint("redis://127.0.0.1:1").reach(Duration::from_millis(100));
    let error = Client::from_builder(builder).err().unwrap();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}
