//! The client against a real server, without a worker: what is enqueued, exactly once, and when not.

use std::time::{Duration, Instant};

use futures::stream;
use gristmill::shared::Keys;
use gristmill::{
    BatchId, BatchState, Client, ClientError, KernelName, Lane, Managed, Namespace, QueueName, SubmitOptions,
    TaskError, WhenFull, Wish,
};
use gristmill_embedded::EmbeddedRedis;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;

struct Scene {
    client: Client,
    redis: MultiplexedConnection,
    keys: Keys,
    server: EmbeddedRedis,
}

impl Scene {
    async fn new() -> Self {
        let server = EmbeddedRedis::start().unwrap();
        let client = Client::connect(server.url()).await.unwrap();
        let redis = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        Self { client, redis, keys: Keys::new(&Namespace::new("gm").unwrap()), server }
    }

    fn ready(&self) -> String {
        self.keys.ready(&QueueName::new("default").unwrap(), Lane::Normal)
    }

    async fn depth(&mut self) -> u64 {
        let key = self.ready();
        redis::cmd("LLEN").arg(key).query_async(&mut self.redis).await.unwrap()
    }

    async fn limit_memory(&mut self, bytes: u64) {
        let mut limit = redis::cmd("CONFIG");
        limit.arg("SET").arg("maxmemory").arg(bytes);
        limit.query_async::<()>(&mut self.redis).await.unwrap();
    }

    /// How many calls Redis refused for want of memory.
    async fn refused_calls(&mut self) -> u64 {
        let info: String = redis::cmd("INFO").arg("errorstats").query_async(&mut self.redis).await.unwrap();
        let count = info.lines().find_map(|line| line.strip_prefix("errorstat_OOM:count="));
        count.map_or(0, |count| count.trim().parse().unwrap())
    }

    async fn tasks(&self, batch: BatchId) -> u64 {
        self.client.batch_record(batch).await.unwrap().map_or(0, |record| record.tasks)
    }

    async fn wait_for_tasks(&self, batch: BatchId, tasks: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.tasks(batch).await != tasks {
            assert!(Instant::now() < deadline, "the batch never had {tasks} tasks");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A map whose items come when the test sends them.
    async fn open_map(&self) -> (mpsc::UnboundedSender<u8>, gristmill::MapHandle<Vec<u8>>) {
        let (to, items) = mpsc::unbounded_channel::<u8>();
        let items = stream::unfold(items, async |mut items| Some((vec![items.recv().await?], items)));
        let kernel = KernelName::new("square").unwrap();
        (to, self.client.map_raw(&kernel, items, &SubmitOptions::new()).await.unwrap())
    }
}

#[tokio::test]
async fn calls_that_redis_forgot_are_sent_again() {
    let mut scene = Scene::new().await;
    let (to, handle) = scene.open_map().await;
    let batch = handle.id();
    for item in 0..3 {
        to.send(item).unwrap();
        scene.wait_for_tasks(batch, u64::from(item) + 1).await;
    }
    // As after a crash which lost the last two calls.
    let (key, ready) = (scene.keys.batch(batch), scene.ready());
    let mut rollback = redis::pipe();
    rollback.atomic().hset_multiple(&key, &[("next_seq", 1), ("tasks", 1)]).ignore();
    rollback.ltrim(&ready, 0, 0).ignore();
    rollback.query_async::<()>(&mut scene.redis).await.unwrap();

    to.send(3).unwrap();
    scene.wait_for_tasks(batch, 4).await;
    assert_eq!(scene.depth().await, 4);
    drop(to);
    assert_eq!(handle.leave().await.unwrap(), batch);
}

#[tokio::test]
async fn lost_connections_enqueue_nothing_twice() {
    let mut scene = Scene::new().await;
    let kernel = "square";
    let handle = scene.client.map_dyn::<u64, _>(kernel, 0..20_000u64, &SubmitOptions::new()).await.unwrap();
    let detach = tokio::spawn(handle.detach());
    while !detach.is_finished() {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        kill.query_async::<()>(&mut scene.redis).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let batch = detach.await.unwrap().unwrap();
    let record = scene.client.batch_record(batch).await.unwrap().unwrap();
    assert_eq!((record.state, record.total), (BatchState::Sealed, Some(20_000)));
    assert_eq!(scene.client.queue_stats(&QueueName::new("default").unwrap()).await.unwrap().ready_tasks, 20_000);
}

#[tokio::test]
async fn a_lost_reply_makes_no_submission_a_known_one() {
    let mut scene = Scene::new().await;
    let client = scene.client.clone();
    let submit = tokio::spawn(async move {
        let mut known = Vec::new();
        for n in 0..20_u64 {
            let options = SubmitOptions::new().key(format!("key {}", n / 2));
            let handle = client.submit_dyn::<u64>("square", &(n / 2), &options).await.unwrap();
            known.push(handle.was_known());
        }
        known
    });
    while !submit.is_finished() {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        kill.query_async::<()>(&mut scene.redis).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(submit.await.unwrap(), [false, true].repeat(10));
    assert_eq!(scene.depth().await, 10);
}

#[tokio::test]
async fn without_a_reader_the_window_bounds_what_is_enqueued() {
    let mut scene = Scene::new().await;
    let handle = scene.client.map_dyn::<u64, _>("square", 0..10_000u64, &SubmitOptions::new()).await.unwrap();
    scene.wait_for_tasks(handle.id(), 256).await;
    assert_eq!(scene.depth().await, 256);
    let batch = handle.leave().await.unwrap();
    let record = scene.client.batch_record(batch).await.unwrap().unwrap();
    assert_eq!((record.state, record.total), (BatchState::Sealed, Some(256)));
}

#[tokio::test]
async fn dropping_a_map_cancels_it() {
    let mut scene = Scene::new().await;
    let (to, handle) = scene.open_map().await;
    let batch = handle.id();
    to.send(1).unwrap();
    scene.wait_for_tasks(batch, 1).await;
    drop(handle);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let key = scene.keys.cancelled();
        let mark: Option<String> =
            redis::cmd("HGET").arg(key).arg(batch.to_string()).query_async(&mut scene.redis).await.unwrap();
        if mark.as_deref() == Some("-") {
            break;
        }
        assert!(Instant::now() < deadline, "the batch was never cancelled");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(scene.client.batch_record(batch).await.unwrap().unwrap().state, BatchState::Sealed);
}

#[tokio::test]
async fn an_empty_map_ends_at_once() {
    let scene = Scene::new().await;
    let items = Vec::<u64>::new();
    let handle = scene.client.map_dyn::<u64, _>("square", items, &SubmitOptions::new()).await.unwrap();
    assert_eq!(handle.collect().await.unwrap(), Vec::<u64>::new());
    let (_to, mut handle) = scene.open_map().await;
    handle.cancel().await.unwrap();
    assert!(handle.next().await.is_none());
}

#[tokio::test]
async fn nothing_is_enqueued_near_the_memory_limit() {
    let mut scene = Scene::new().await;
    scene.limit_memory(1024).await;
    // The client that saw the limit at its start need not wait for its next look.
    let client = Client::connect(scene.server.url()).await.unwrap();
    let error = client.submit_dyn::<u64>("square", &5, &SubmitOptions::new()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, ClientError::MemoryLimit(_)), "{error}");
    assert_eq!(scene.depth().await, 0);
}

#[tokio::test]
async fn a_map_is_sealed_in_spite_of_the_memory_limit() {
    let mut scene = Scene::new().await;
    let (to, handle) = scene.open_map().await;
    let batch = handle.id();
    to.send(1).unwrap();
    scene.wait_for_tasks(batch, 1).await;
    scene.limit_memory(1024).await;
    let leave = tokio::spawn(async move {
        drop(to);
        handle.leave().await
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while scene.refused_calls().await == 0 {
        assert!(Instant::now() < deadline, "nobody tried to seal the batch");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.limit_memory(0).await;
    assert_eq!(leave.await.unwrap().unwrap(), batch);
    assert_eq!(scene.client.batch_record(batch).await.unwrap().unwrap().state, BatchState::Sealed);
}

/// A queue of one message, which is there already.
async fn full_scene() -> Scene {
    let scene = Scene::new().await;
    scene.client.submit_dyn::<u64>("square", &1, &SubmitOptions::new()).await.unwrap();
    scene.limit(Some(1)).await;
    scene
}

impl Scene {
    async fn limit(&self, limit: Option<u64>) {
        let queue = QueueName::new("default").unwrap();
        assert_eq!(self.client.manage_queue(&queue, Wish::Limit(limit), false).await.unwrap(), Managed::Done);
    }

    async fn full_map(&self, options: SubmitOptions) -> gristmill::MapHandle<u64> {
        self.client.map_dyn("square", 0..3u64, &options.chunk(1)).await.unwrap()
    }
}

#[tokio::test]
async fn a_full_queue_refuses_whoever_does_not_want_to_wait() {
    let mut scene = full_scene().await;
    let refused = scene.client.submit_dyn::<u64>("square", &5, &SubmitOptions::new()).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, ClientError::QueueFull { depth: 1, limit: 1, .. }), "{refused}");
    assert!(refused.is_refusal());
    let options = SubmitOptions::new().when_full(WhenFull::Fail);
    let refused = scene.full_map(options).await.collect().await.unwrap_err();
    assert!(matches!(refused, TaskError::Client(ClientError::QueueFull { .. })), "{refused}");
    let brief = SubmitOptions::new().when_full(WhenFull::Wait).room_timeout(Duration::from_millis(50));
    let refused = scene.client.submit_dyn::<u64>("square", &5, &brief).await.map(|_| ()).unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    let refused = scene.full_map(brief).await.collect().await.unwrap_err();
    assert!(matches!(refused, TaskError::Client(ClientError::QueueFull { .. })), "{refused}");
    assert_eq!(scene.depth().await, 1);
}

#[tokio::test]
async fn whoever_wants_to_wait_is_enqueued_when_there_is_room() {
    let mut scene = full_scene().await;
    let (client, options) = (scene.client.clone(), SubmitOptions::new().when_full(WhenFull::Wait));
    let submit = tokio::spawn(async move { client.submit_dyn::<u64>("square", &5, &options).await.map(|_| ()) });
    // A map waits unless it is told not to, also one that nobody listens to.
    let detach = tokio::spawn(scene.full_map(SubmitOptions::new()).await.detach());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!submit.is_finished() && !detach.is_finished());
    assert_eq!(scene.depth().await, 1);
    scene.limit(None).await;
    submit.await.unwrap().unwrap();
    let batch = detach.await.unwrap().unwrap();
    assert_eq!(scene.depth().await, 5);
    let record = scene.client.batch_record(batch).await.unwrap().unwrap();
    assert_eq!((record.state, record.total), (BatchState::Sealed, Some(3)));
}

#[tokio::test]
async fn a_map_that_waits_for_room_can_be_given_up() {
    let scene = full_scene().await;
    let mut handle = scene.full_map(SubmitOptions::new()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::time::timeout(Duration::from_secs(5), handle.cancel()).await.unwrap().unwrap();
    assert!(handle.next().await.is_none(), "nothing was enqueued");
    let handle = scene.full_map(SubmitOptions::new()).await;
    let batch = tokio::time::timeout(Duration::from_secs(5), handle.leave()).await.unwrap().unwrap();
    assert_eq!(scene.tasks(batch).await, 0);
}

#[tokio::test]
async fn a_cancel_is_done_though_what_is_scheduled_cannot_be_looked_at() {
    let mut scene = Scene::new().await;
    let (to, handle) = scene.open_map().await;
    to.send(1).unwrap();
    scene.wait_for_tasks(handle.id(), 1).await;
    let scheduled = scene.keys.scheduled(&QueueName::new("default").unwrap());
    redis::cmd("SET").arg(scheduled).arg("x").query_async::<()>(&mut scene.redis).await.unwrap();
    assert_eq!(scene.client.cancel(handle.id()).await.unwrap(), gristmill::Cancelled::Done);
    let mut mark = redis::cmd("HGET");
    mark.arg(scene.keys.cancelled()).arg(handle.id().to_string());
    assert_eq!(mark.query_async::<String>(&mut scene.redis).await.unwrap(), "*");
}
