//! `map` in its forms: sources, orders, failures, drops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use futures::stream;
use gristmill::{BatchState, ClientError, OnDrop, OutcomeKind, SubmitOptions, TaskError};
use gristmill_kernels::test_kernels::fail;
use gristmill_kernels::{monte_carlo_pi, sleep, square};
use gristmill_shared::events;

use crate::{Scene, soon};

/// An iterator without end that counts how far it was read.
fn endless(read: &Arc<AtomicU64>) -> impl Iterator<Item = i64> + Send + 'static {
    let read = read.clone();
    (0..).inspect(move |_| {
        read.fetch_add(1, SeqCst);
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_iterators_without_end_are_read_as_far_as_needed() {
    let scene = Scene::start(2).await;
    let read = Arc::new(AtomicU64::new(0));
    let mut squares = scene.client.map_stream(square, stream::iter(endless(&read))).await.unwrap();
    for n in 0..3000 {
        assert_eq!(soon(squares.next()).await.unwrap().unwrap(), n * n);
    }
    drop(squares);
    // Nobody reads here, so the source is read only as far as results may wait.
    let read = Arc::new(AtomicU64::new(0));
    let unread = scene.client.map(square, endless(&read)).await.unwrap();
    let mut before = 0;
    let rests = async {
        while read.load(SeqCst) != before || before == 0 {
            before = read.load(SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    soon(rests).await;
    assert!(before < 200_000, "{before} items were read for a reader who does not read");
    let batch = scene.client.batch(unread.id());
    soon(unread.close()).await;
    let read = read.load(SeqCst);
    assert!(read < 200_000 && soon(batch.wait()).await.unwrap().tasks <= read, "{read}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_fails_ends_the_map_after_what_came_before() {
    let scene = Scene::start(1).await;
    let rows = || (0..10).map(|n| if n == 7 { Err(format!("row {n} is torn")) } else { Ok(n) });
    let mut squares = scene.client.try_map(square, rows()).await.unwrap();
    for n in 0..7 {
        assert_eq!(soon(squares.next()).await.unwrap().unwrap(), n * n);
    }
    let error = soon(squares.next()).await.unwrap().unwrap_err();
    assert!(matches!(&error, TaskError::Client(ClientError::Source(_))), "{error}");
    assert!(error.to_string().contains("row 7 is torn"), "{error}");
    assert!(soon(squares.next()).await.is_none());
    let record = scene.client.batch(squares.id()).status().await.unwrap();
    assert_eq!((record.state, record.count(OutcomeKind::Succeeded)), (BatchState::Finished, 7));

    let mut unordered = scene.client.try_map_stream(square, stream::iter(rows())).await.unwrap().unordered();
    let mut sum = 0;
    let error = loop {
        match soon(unordered.next()).await.unwrap().1 {
            Ok(n) => sum += n,
            Err(error) => break error,
        }
    };
    assert_eq!((sum, error.task()), ((0..7).map(|n| n * n).sum(), None));
    let error = scene.client.try_map(square, rows()).await.unwrap().collect().await.unwrap_err();
    assert!(error.to_string().contains("row 7 is torn"), "{error}");
    let error = soon(scene.client.try_map(square, rows()).await.unwrap().detach()).await.unwrap_err();
    assert!(error.to_string().contains("row 7 is torn"), "{error}");
    let error =
        scene.client.try_map(square, [Err::<i64, _>("nothing came")]).await.unwrap().collect().await.unwrap_err();
    assert!(error.to_string().contains("nothing came"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_come_as_they_end_and_are_merged_as_they_come() {
    let scene = Scene::start(2).await;
    let one_each = scene.client.with(SubmitOptions::new().chunk(1));
    let mut slept = one_each.map_unordered(sleep, [60.0, 0.0]).await.unwrap();
    let (first, result) = soon(slept.next()).await.unwrap();
    assert!(first == 1 && result.is_ok(), "the short one first");
    assert!(scene.client.batch(slept.id()).task::<()>(0).cancel().await.unwrap());
    assert_eq!(soon(slept.next()).await.map(|(index, result)| (index, result.is_err())), Some((0, true)));
    assert!(soon(slept.next()).await.is_none());

    let parts = (0..50_u64).map(|seed| (1000, seed));
    let (mut inside, mut samples) = (0, 0);
    for part in parts.clone().map(|(n, seed)| monte_carlo_pi(n, seed).unwrap()) {
        (inside, samples) = (inside + part.hits, samples + part.samples);
    }
    let merged = scene.client.map_unordered(monte_carlo_pi, parts).await.unwrap();
    let merged = merged.fold((0, 0), |sum, hits| (sum.0 + hits.hits, sum.1 + hits.samples));
    assert_eq!(soon(merged).await.unwrap(), (inside, samples));
    let in_order = scene.client.map(square, 0..5).await.unwrap();
    let text = soon(in_order.fold(String::new(), |text, n| format!("{text}{n} "))).await.unwrap();
    assert_eq!(text, "0 1 4 9 16 ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_chunk_each_item_has_its_own_end_and_its_own_attempts() {
    let mut scene = Scene::start(1).await;
    let options =
        SubmitOptions::new().chunk(100).retries(2).backoff(Duration::from_millis(1), Duration::from_millis(1));
    let items: Vec<_> = (0..100_u16)
        .map(|n| {
            (
                format!("item {n}"),
                match n {
                    41 => 2,
                    42 => 99,
                    _ => 0,
                },
            )
        })
        .collect();
    let map = scene.client.map_with(fail, items, &options).await.unwrap();
    let batch = map.id();
    let results = soon(map.collect_all()).await.unwrap();
    let error = results[42].as_ref().unwrap_err();
    assert_eq!(
        (error.kind(), error.attempt(), error.task()),
        (Some(OutcomeKind::Failed), Some(3), Some(batch.task(42)))
    );
    assert!(error.to_string().contains("item 42"), "{error}");
    let attempts: Vec<u16> = results.iter().flatten().copied().collect();
    assert_eq!((attempts.len(), attempts[41], attempts.iter().sum::<u16>()), (99, 3, 98 + 3));
    // The log tells how often each ran: the neighbours once, whatever became of the two.
    scene.worker.drain();
    let mut runs: BTreeMap<String, u32> = BTreeMap::new();
    for line in scene.worker.log.events(events::TASK_STARTED) {
        *runs.entry(line.text("task").to_owned()).or_default() += 1;
    }
    let expected: BTreeMap<_, _> =
        (0..100).map(|n| (batch.task(n).to_string(), if n == 41 || n == 42 { 3 } else { 1 })).collect();
    assert_eq!(runs, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_failure_ends_a_collect_and_cancels_the_rest() {
    let scene = Scene::start(1).await;
    let one_each = scene.client.with(SubmitOptions::new().chunk(1));
    let slow = (0..).map(|n| if n == 1 { -1.0 } else { 0.02 });
    let map = one_each.map(sleep, slow).await.unwrap();
    let batch = scene.client.batch(map.id());
    let error = soon(map.collect()).await.unwrap_err();
    assert_eq!(error.task(), Some(batch.id().task(1)));
    let record = soon(batch.wait()).await.unwrap();
    assert!(record.count(OutcomeKind::Cancelled) > 0, "{record:?}");
    assert_eq!(record.total, Some(record.ended()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_map_is_cancelled_left_or_detached_as_was_said() {
    let scene = Scene::start(1).await;
    let ends = async |choice: Option<OnDrop>, items: u64| {
        let mut options = SubmitOptions::new().chunk(1);
        options.on_drop = choice;
        let read = Arc::new(AtomicU64::new(0));
        let source = endless(&read).take(items as usize).map(|_| 0.001);
        let mut map = scene.client.map_with(sleep, source, &options).await.unwrap();
        soon(map.next()).await.unwrap().unwrap();
        let batch = scene.client.batch(map.id());
        drop(map);
        (soon(batch.wait()).await.unwrap(), read.load(SeqCst))
    };
    for choice in [None, Some(OnDrop::Cancel)] {
        let (record, read) = ends(choice, 5000).await;
        assert!(record.count(OutcomeKind::Cancelled) > 0, "{record:?}");
        assert!(read < 5000, "it was read to its end");
    }
    let (record, read) = ends(Some(OnDrop::Leave), 5000).await;
    assert_eq!(record.count(OutcomeKind::Succeeded), record.tasks);
    assert!(record.tasks < 5000 && record.tasks <= read, "{record:?}");
    let (record, read) = ends(Some(OnDrop::Detach), 700).await;
    assert_eq!((record.count(OutcomeKind::Succeeded), read), (700, 700));
}
