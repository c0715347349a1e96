//! Redis comes back with an older state while a `map` has nothing more to send.

use std::time::{Duration, Instant};

use futures::StreamExt;
use gristmill::{BatchId, BatchState, Client, KernelName, SubmitOptions};
use gristmill_embedded::EmbeddedRedis;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

struct Scene {
    client: Client,
    redis: MultiplexedConnection,
    _server: EmbeddedRedis,
}

impl Scene {
    async fn new() -> Self {
        let server = EmbeddedRedis::start().unwrap();
        let client = Client::connect(server.url()).await.unwrap();
        let redis = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        Self { client, redis, _server: server }
    }

    async fn wait_for(&self, batch: BatchId, state: BatchState, tasks: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let record = self.client.batch_record(batch).await.unwrap();
            if record.as_ref().is_some_and(|record| (record.state, record.tasks) == (state, tasks)) {
                return;
            }
            assert!(Instant::now() < deadline, "it never had {tasks} tasks, {state:?}: {record:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// As after a crash that lost everything but the first call, of so many messages.
    async fn forget_all_but_the_first_call(&mut self, batch: BatchId, messages: isize) {
        let (batch_key, ready) = (self.client.keys().batch(batch), "{gm}:ready:default");
        let mut rollback = redis::pipe();
        rollback.atomic().hset_multiple(&batch_key, &[("next_seq", "1"), ("state", "open")]).ignore();
        rollback.hset(&batch_key, "tasks", messages).hdel(&batch_key, "total").ignore();
        rollback.ltrim(ready, 0, messages - 1).ignore();
        rollback.query_async::<()>(&mut self.redis).await.unwrap();
    }
}

/// Nobody sends anything by itself: the source has ended.
#[tokio::test]
async fn a_map_that_has_sent_everything_sends_again_what_redis_forgot() {
    let mut scene = Scene::new().await;
    let options = SubmitOptions::new().chunk(1);
    // Four at once, and one later: two calls.
    let late = futures::stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        vec![4]
    });
    let items = futures::stream::iter((0..4).map(|n| vec![n])).chain(late).boxed();
    let handle = scene.client.map_raw(&KernelName::new("square").unwrap(), items, &options).await.unwrap();
    let batch = handle.id();
    scene.wait_for(batch, BatchState::Sealed, 5).await;
    scene.forget_all_but_the_first_call(batch, 4).await;
    scene.wait_for(batch, BatchState::Sealed, 5).await;
    assert_eq!(scene.redis.llen::<_, u64>("{gm}:ready:default").await.unwrap(), 5);
    drop(handle);
}

/// The window is full of what Redis has forgotten.
#[tokio::test]
async fn a_map_that_waits_for_room_sends_again_what_redis_forgot() {
    let mut scene = Scene::new().await;
    let options = SubmitOptions::new().chunk(1);
    let handle = scene.client.map_dyn::<u64, _>("square", 0..10_000u64, &options).await.unwrap();
    let batch = handle.id();
    scene.wait_for(batch, BatchState::Open, 256).await;
    let record = scene.client.batch_record(batch).await.unwrap().unwrap();
    assert_eq!(record.next_seq, 1, "one call fills the window");
    scene.redis.del::<_, ()>("{gm}:ready:default").await.unwrap();
    let mut rollback = redis::pipe();
    let key = scene.client.keys().batch(batch);
    rollback.hset_multiple(&key, &[("next_seq", 0), ("tasks", 0)]).ignore();
    rollback.query_async::<()>(&mut scene.redis).await.unwrap();
    scene.wait_for(batch, BatchState::Open, 256).await;
    assert_eq!(scene.redis.llen::<_, u64>("{gm}:ready:default").await.unwrap(), 256);
    drop(handle);
}
