//! Options: where they come from, idempotency keys, labels, results that nobody wants.

use std::time::Duration;

use futures::future::join_all;
use gristmill::{ClientError, Handle, KernelName, Lane, OutcomeKind, QueueName, SubmitOptions, TaskError};
use gristmill_integration_tests::Cli;
use gristmill_kernels::test_kernels::{fail, spin};
use gristmill_kernels::{sleep, square};

use crate::{Scene, soon};

const MINUTE: Duration = Duration::from_secs(60);

fn keyed(key: &str) -> SubmitOptions {
    SubmitOptions::new().key(key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_is_the_same_task() {
    let mut scene = Scene::start(1).await;
    let first = scene.client.submit_with(square, 7, &keyed("order 17")).await.unwrap();
    assert!(!first.was_known());
    assert_eq!(soon(first.result()).await.unwrap(), 49);
    // Whoever comes later, before or after its end, with whatever other options.
    let other = scene.redis.client().await;
    let again = other.submit_with(square, 7, &keyed("order 17").retries(3).label("a", "b")).await.unwrap();
    assert!(again.was_known());
    assert_eq!((again.id(), again.result().await.unwrap()), (first.id(), 49));
    assert_eq!(scene.redis.matching("{gm}:batch:*").len(), 1);
    let next = scene.client.submit_with(square, 7, &keyed("order 18")).await.unwrap();
    assert!(!next.was_known() && next.id() != first.id());
    assert_eq!(scene.client.batch_record(first.id().batch).await.unwrap().unwrap().key.as_deref(), Some("order 17"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_work_with_the_same_key_is_an_error() {
    let mut scene = Scene::start(1).await;
    let first = scene.client.submit_with(square, 7, &keyed("k")).await.unwrap();
    let errors = [
        scene.client.submit_with(square, 8, &keyed("k")).await.map(|_| ()).unwrap_err(),
        scene.client.submit_dyn::<i64>("echo", &7, &keyed("k")).await.map(|_| ()).unwrap_err(),
    ];
    for error in errors {
        let ClientError::KeyReused { key, batch } = &error else { panic!("not that it is reused: {error}") };
        assert_eq!((key.as_str(), *batch), ("k", first.id().batch));
        assert!(error.to_string().contains(&first.id().batch.to_string()), "{error}");
    }
    assert_eq!(scene.redis.matching("{gm}:batch:*").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_remembers_a_task_however_it_ended() {
    let scene = Scene::start(1).await;
    let failing = async || scene.client.submit_with(fail, ("no".to_owned(), 9), &keyed("f")).await;
    let first = failing().await.unwrap();
    soon(first.result()).await.unwrap_err();
    let again = failing().await.unwrap();
    assert!(again.was_known());
    assert_eq!(again.result().await.unwrap_err().kind(), Some(OutcomeKind::Failed));
    let cancelled = scene.client.submit_with(sleep, 60.0, &keyed("c").delay(MINUTE)).await.unwrap();
    assert!(cancelled.cancel().await.unwrap());
    soon(cancelled.result()).await.unwrap_err();
    assert!(scene.client.submit_with(sleep, 60.0, &keyed("c")).await.unwrap().was_known());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_submitters_at_once_get_one_task() {
    let mut scene = Scene::start(1).await;
    let clients = join_all((0..4).map(|_| scene.redis.client())).await;
    let submit = |n: usize| {
        let client = clients[n % 4].clone();
        async move { client.submit_with(square, 9, &keyed("at once")).await.unwrap() }
    };
    let handles = join_all((0..40).map(|n| tokio::spawn(submit(n)))).await;
    let handles: Vec<_> = handles.into_iter().map(Result::unwrap).collect();
    assert_eq!(handles.iter().filter(|handle| !handle.was_known()).count(), 1);
    assert!(handles.iter().all(|handle| handle.id() == handles[0].id()));
    assert_eq!(soon(handles[39].result()).await.unwrap(), 81);
    assert_eq!(scene.redis.command::<u64>("HGET {gm}:queue:default enqueued_total"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_kept_as_long_as_their_key() {
    let mut scene = Scene::start(1).await;
    let options = keyed("k").key_window(MINUTE).result_ttl(Duration::from_secs(1));
    let handle = scene.client.submit_with(square, 7, &options).await.unwrap();
    soon(handle.result()).await.unwrap();
    let [key, batch] = ["{gm}:once:k".to_owned(), format!("{{gm}}:batch:{}", handle.id().batch)]
        .map(|key| scene.redis.command::<i64>(&format!("PTTL {key}")));
    assert!(key > 50_000 && key <= 60_000, "{key}");
    assert!(batch >= key, "the result goes after {batch} ms, before its key, {key} ms");
    // Where the batch is gone all the same, the key still holds, and the handle says what is wrong.
    scene.redis.command::<u64>(&format!("DEL {{gm}}:batch:{}", handle.id().batch));
    let again = scene.client.submit_with(square, 7, &options).await.unwrap();
    assert!(again.was_known());
    let error = again.result().await.unwrap_err();
    assert!(matches!(error, TaskError::Client(ClientError::NoSuchBatch(id)) if id == handle.id().batch), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_arguments_of_a_known_key_are_not_kept() {
    let mut scene = Scene::start(1).await;
    let text = "x".repeat(100_000);
    let options = keyed("k").delay(MINUTE);
    let first: Handle<String> = scene.client.submit_dyn("echo", text.as_str(), &options).await.unwrap();
    let before = scene.redis.matching("{gm}:blob:*");
    assert_eq!(before.len(), 1);
    let again: Handle<String> = scene.client.submit_dyn("echo", text.as_str(), &options).await.unwrap();
    assert!(again.was_known() && again.id() == first.id());
    assert_eq!(scene.redis.matching("{gm}:blob:*"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_submission_has_a_key() {
    let mut scene = Scene::start(1).await;
    let Err(error) = scene.client.map_with(square, [1, 2], &keyed("m")).await else { panic!("a map with a key") };
    assert!(error.to_string().contains("a map takes no idempotency key, and this one has \"m\""), "{error}");
    let Err(error) = scene.redis.client_builder().defaults(keyed("d")).connect().await else { panic!("a default key") };
    assert!(error.to_string().contains("\"d\" would be that of all submissions"), "{error}");
    let bound = scene.client.with(keyed("b"));
    let Err(error) = bound.submit(square, 1).await else { panic!("a bound key") };
    assert!(error.to_string().contains("\"b\" would be that of all submissions"), "{error}");
    let Err(error) = bound.map(square, [1]).await else { panic!("a map with a bound key") };
    assert!(error.to_string().contains("\"b\""), "{error}");
    let Err(error) = scene.client.submit_with(square, 1, &keyed("")).await else { panic!("an empty key") };
    assert!(matches!(error, ClientError::Invalid(_)), "{error}");
    assert!(scene.redis.matching("{gm}:batch:*").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_call_comes_before_the_bound_client_and_that_before_the_client() {
    let mut scene = Scene::start(1).await;
    let quick = Duration::from_millis(1);
    let defaults = SubmitOptions::new().retries(1).backoff(quick, quick).label("team", "client").label("of", "client");
    let client = scene.redis.client_builder().defaults(defaults).connect().await.unwrap();
    let bound = client.with(SubmitOptions::new().retries(2).label("team", "bound"));
    let attempts = async |client: &gristmill::Client, options: SubmitOptions| {
        let handle = client.submit_with(fail, ("no".into(), 9), &options).await.unwrap();
        let error = soon(handle.result()).await.unwrap_err();
        let labels = client.batch_record(handle.id().batch).await.unwrap().unwrap().labels;
        (error.attempt().unwrap(), labels.into_values().collect::<Vec<_>>().join(" "))
    };
    let new = SubmitOptions::new;
    // At once, for a retry waits for the next tick. The client that was bound is as before.
    let found = tokio::join!(
        attempts(&scene.client, new()),
        attempts(&client, new()),
        attempts(&bound, new()),
        attempts(&bound, new().retries(0).label("team", "call")),
        // A map gets them, too.
        async {
            soon(bound.map(fail, vec![("no".to_owned(), 9)]).await.unwrap().collect()).await.unwrap_err().attempt()
        },
    );
    let text = str::to_owned;
    assert_eq!((found.0, found.1), ((1, String::new()), (2, text("client client"))));
    assert_eq!((found.2, found.3, found.4), ((3, text("client bound")), (1, text("client call")), Some(3)));
    let elsewhere = bound.with(new().queue(QueueName::new("elsewhere").unwrap()).lane(Lane::High));
    let waiting = elsewhere.submit(square, 7).await.unwrap();
    let record = client.batch_record(waiting.id().batch).await.unwrap().unwrap();
    assert_eq!((record.queue.as_str(), elsewhere.queue().as_str()), ("elsewhere", "elsewhere"));
    assert_eq!(scene.redis.command::<u64>("LLEN {gm}:ready:elsewhere:high"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_options_of_a_kernel_come_after_the_bound_client_and_before_the_client() {
    let mut scene = Scene::start(1).await;
    let new = SubmitOptions::new;
    let queue = |name: &str| QueueName::new(name).unwrap();
    let of_client = new().queue(queue("of-client")).lane(Lane::Low).label("by", "client").label("of", "client");
    let of_square = new().queue(queue("of-kernel")).lane(Lane::High).label("by", "kernel").label("kernel", "square");
    let builder = scene.redis.client_builder().defaults(of_client);
    // Of two calls for a kernel the last holds, wherever in the builder it stands.
    let builder = builder.kernel_defaults(square, new().label("lost", "1")).kernel_defaults(square, of_square);
    let client = builder.connect().await.unwrap();
    let bound = client.with(new().queue(queue("of-bound")).label("by", "bound"));
    let record = async |batch| {
        let record = client.batch_record(batch).await.unwrap().unwrap();
        (record.queue, record.labels.into_values().collect::<Vec<_>>().join(" "))
    };
    let found = |queue: &str, labels: &str| (queue.to_owned(), labels.to_owned());
    let typed = client.submit(square, 7).await.unwrap().id().batch;
    assert_eq!(record(typed).await, found("of-kernel", "kernel square client"));
    assert_eq!(scene.redis.command::<u64>("LLEN {gm}:ready:of-kernel:high"), 1);
    // By name it is the same kernel, and another kernel has nothing of it.
    let named = client.submit_dyn::<i64>("square", &7, &new()).await.unwrap().id().batch;
    assert_eq!(record(named).await, found("of-kernel", "kernel square client"));
    let other = client.submit_dyn::<i64>("echo", &7, &new()).await.unwrap().id().batch;
    assert_eq!(record(other).await, found("of-client", "client client"));
    assert_eq!(scene.redis.command::<u64>("LLEN {gm}:ready:of-client:low"), 1);
    // What is bound, and what the call says, come first; the rest stays the kernel's.
    let by_bound = bound.submit(square, 7).await.unwrap().id().batch;
    assert_eq!(record(by_bound).await, found("of-bound", "bound square client"));
    assert_eq!(scene.redis.command::<u64>("LLEN {gm}:ready:of-bound:high"), 1);
    let said = new().queue(queue("of-call")).label("by", "call");
    let by_call = bound.submit_with(square, 7, &said).await.unwrap().id().batch;
    assert_eq!(record(by_call).await, found("of-call", "call square client"));
    // A map, with its handle let go, for nobody works here.
    let map = client.map(square, [1, 2]).await.unwrap();
    let mapped = map.id();
    let enqueued = async || client.batch_record(mapped).await.unwrap().is_some();
    soon(async {
        while !enqueued().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(record(mapped).await, found("of-kernel", "kernel square client"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_options_of_a_kernel_are_told_when_connecting() {
    let scene = Scene::start(1).await;
    let wrong = [
        (keyed("d"), "\"d\" would be that of all submissions to square"),
        (SubmitOptions::new().chunk(0), "a chunk of 0 tasks is none"),
    ];
    for (options, said) in wrong {
        let builder = scene.redis.client_builder().kernel_defaults(square, options);
        let Err(error) = builder.connect().await else { panic!("connected without {said:?}") };
        assert!(matches!(&error, ClientError::Invalid(text) if text.contains(said)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_and_key_are_seen_by_whoever_looks() {
    let scene = Scene::start(1).await;
    let options = keyed("order 17").label("team", "search").label("run", "ü 7");
    let handle = scene.client.submit_with(square, 7, &options).await.unwrap();
    soon(handle.result()).await.unwrap();
    let cli = Cli::new(&scene.redis);
    let batch = handle.id().batch.to_string();
    let text = cli.run(&["status", &batch]).ok();
    let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in ["key order 17", "labels", "run ü 7", "team search"] {
        assert!(lines.iter().any(|shown| shown == line), "no {line:?}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&cli.run(&["status", &batch, "--json"]).ok()).unwrap();
    assert_eq!(json[0]["labels"], serde_json::json!({ "run": "ü 7", "team": "search" }));
    assert_eq!(json[0]["key"], "order 17");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_ignored_result_only_the_end_is_known() {
    let scene = Scene::start(2).await;
    let ignoring = scene.client.with(SubmitOptions::new().ignore_result(true));
    let handle = ignoring.submit(square, 7).await.unwrap();
    let error = soon(handle.result()).await.unwrap_err();
    assert!(matches!(error, TaskError::NotKept(task) if task == handle.id()), "{error}");
    assert_eq!((error.kind(), handle.outcome().await.unwrap()), (Some(OutcomeKind::Succeeded), OutcomeKind::Succeeded));
    assert!(matches!(handle.into_raw().result().await, Err(TaskError::NotKept(_))));
    // What returns nothing has lost nothing.
    let nothing = ignoring.submit(spin, 1).await.unwrap();
    soon(nothing.result()).await.unwrap();
    assert_eq!(soon(ignoring.map(spin, vec![1; 3]).await.unwrap().collect()).await.unwrap(), [(); 3]);
    // How a task failed is kept.
    let failed = ignoring.submit(fail, ("no such file".into(), 9)).await.unwrap();
    let error = soon(failed.result()).await.unwrap_err();
    assert!(error.to_string().contains("no such file"), "{error}");
    // A call may want what its client does not.
    let wanted = ignoring.submit_with(square, 7, &SubmitOptions::new().ignore_result(false)).await.unwrap();
    assert_eq!(soon(wanted.result()).await.unwrap(), 49);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignored_results_of_a_map_are_counted_and_take_no_room() {
    let mut scene = Scene::start(2).await;
    let ignoring = scene.client.with(SubmitOptions::new().ignore_result(true));
    let mut map = ignoring.map(square, 0..1000).await.unwrap();
    let mut kept = 0;
    while let Some(result) = soon(map.next()).await {
        kept += usize::from(!matches!(result, Err(TaskError::NotKept(_))));
    }
    assert_eq!((kept, map.summary().count(OutcomeKind::Succeeded)), (0, 1000));
    // Large ones, and nobody who collects them: far more than they may take.
    let echo = KernelName::new("echo").unwrap();
    let large = gristmill::shared::codec::encode(&"x".repeat(60_000)).unwrap();
    let options = SubmitOptions::new().result_bytes(100_000);
    let items = futures::stream::iter(vec![large; 20]);
    let batch = ignoring.map_raw(&echo, items, &options).await.unwrap().detach().await.unwrap();
    let record = soon(scene.client.batch(batch).wait()).await.unwrap();
    assert_eq!((record.count(OutcomeKind::Succeeded), record.stopped), (20, false));
    assert!(scene.redis.command::<u64>(&format!("HGET {{gm}}:batch:{batch} result_bytes")) < 1000);
    let (cli, id) = (Cli::new(&scene.redis), batch.to_string());
    let bare = cli.run(&["results", &id]);
    assert_eq!((bare.code, bare.stdout.as_str()), (0, ""));
    assert!(bare.stderr.contains("20 tasks succeeded without an output"), "{}", bare.stderr);
    let records = cli.run(&["results", &id, "--records"]).ok();
    assert_eq!(records.lines().next().unwrap(), format!("{{\"index\":0,\"id\":\"{id}.0\",\"kept\":false}}"));
    let status = cli.run(&["status", &format!("{id}.0")]).ok();
    assert!(status.contains("succeeded") && status.contains("kept"), "{status}");
    let fsck = cli.run(&["fsck"]);
    assert_eq!(fsck.code, 0, "{}{}", fsck.stdout, fsck.stderr);
}
