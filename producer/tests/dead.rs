//! Dead letters, walked from the client: each once, in bounded pages, whatever happens meanwhile.

use std::collections::BTreeSet;

use gristmill::shared::dead_letter::Epitaph;
use gristmill::shared::{Failure, OutcomeKind, codec};
use gristmill::{BatchId, Client, DeadFilter, DeadTask, QueueName};
use gristmill_embedded::EmbeddedRedis;
use redis::aio::MultiplexedConnection;

/// More than are listed at once, all of the same moment.
const LETTERS: u64 = 2_500;

struct Scene {
    client: Client,
    redis: MultiplexedConnection,
    queue: QueueName,
    _server: EmbeddedRedis,
}

impl Scene {
    async fn new() -> Self {
        let server = EmbeddedRedis::start().unwrap();
        let client = Client::connect(server.url()).await.unwrap();
        let redis = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        Self { client, redis, queue: QueueName::new("a").unwrap(), _server: server }
    }

    /// Writes letters as the scripts do.
    async fn bury(&mut self, batch: BatchId, kernel: &str, at_ms: u64, indices: std::ops::Range<u64>) {
        let keys = self.client.keys();
        let epitaph = codec::encode(&Epitaph::new(OutcomeKind::Failed, kernel, &Failure::new("no", 1))).unwrap();
        let record = [&at_ms.to_be_bytes(), &(epitaph.len() as u32).to_be_bytes()[..], &epitaph].concat();
        let mut pipe = redis::pipe();
        for index in indices.clone() {
            let id = batch.task(index).to_string();
            pipe.zadd(keys.dead(&self.queue), &id, at_ms).ignore();
            pipe.hset(keys.dead_records(&self.queue), &id, &record).ignore();
        }
        pipe.hincr(keys.queue(&self.queue), "dead_tasks", indices.end - indices.start).ignore();
        pipe.sadd(keys.queues(), self.queue.as_str()).ignore();
        pipe.query_async::<()>(&mut self.redis).await.unwrap();
    }

    async fn walk(&self, filter: DeadFilter) -> Vec<DeadTask> {
        let mut letters = self.client.dead_letters(filter).await.unwrap();
        let mut all = Vec::new();
        while let Some(page) = letters.next_page().await.unwrap() {
            assert!((1..=256).contains(&page.len()));
            all.extend(page);
        }
        all
    }
}

fn indices(letters: &[DeadTask]) -> BTreeSet<u64> {
    letters.iter().map(|dead| dead.task().unwrap().index).collect()
}

#[tokio::test]
async fn each_letter_is_met_once_in_either_direction() {
    let mut scene = Scene::new().await;
    let batch = BatchId::new();
    scene.bury(batch, "x", 1_000, 0..LETTERS).await;
    scene.bury(batch, "x", 2_000, LETTERS..LETTERS + 10).await;
    for latest_first in [false, true] {
        let found = scene.walk(DeadFilter { latest_first, ..DeadFilter::default() }).await;
        assert_eq!(found.len() as u64, LETTERS + 10, "none comes twice");
        assert_eq!(indices(&found), (0..LETTERS + 10).collect());
        assert_eq!(found[0].letter.at_ms, if latest_first { 2_000 } else { 1_000 });
    }
}

#[tokio::test]
async fn what_is_dropped_on_the_way_hides_nothing() {
    let mut scene = Scene::new().await;
    scene.bury(BatchId::new(), "x", 1_000, 0..LETTERS).await;
    let mut letters = scene.client.dead_letters(DeadFilter::default()).await.unwrap();
    let (mut met, mut dropped) = (0, 0);
    while let Some(page) = letters.next_page().await.unwrap() {
        met += page.len() as u64;
        dropped += scene.client.purge_dead(&page).await.unwrap();
    }
    assert_eq!((met, dropped), (LETTERS, LETTERS));
    assert_eq!(scene.client.queue_stats(&scene.queue).await.unwrap().dead_tasks, 0);
}

#[tokio::test]
async fn filters_hold_together() {
    let mut scene = Scene::new().await;
    let (one, other) = (BatchId::new(), BatchId::new());
    scene.bury(one, "x", 1_000, 0..5).await;
    scene.bury(one, "y", 1_000, 5..10).await;
    scene.bury(other, "y", 1_000, 10..15).await;
    let y = DeadFilter { kernel: Some("y".into()), ..DeadFilter::default() };
    assert_eq!(indices(&scene.walk(y.clone()).await), (5..15).collect());
    let both = DeadFilter { batch: Some(one), reason: Some("failed".into()), ..y };
    assert_eq!(indices(&scene.walk(both.clone()).await), (5..10).collect());
    assert!(scene.walk(DeadFilter { reason: Some("lost".into()), ..both }).await.is_empty());
    let elsewhere = DeadFilter { queues: vec![QueueName::new("b").unwrap()], ..DeadFilter::default() };
    assert!(scene.walk(elsewhere).await.is_empty());
    let id = other.task(12).to_string();
    let found = scene.client.dead_letter(&id, None).await.unwrap().unwrap();
    assert_eq!((found.queue.as_str(), found.letter.epitaph.kernel.as_str()), ("a", "y"));
    assert!(scene.client.dead_letter(&id, Some(&QueueName::new("b").unwrap())).await.unwrap().is_none());
}
