//! Plays the scripts: writes what they write.

use std::time::Duration;

use gristmill_embedded::{AppendOnly, EmbeddedOptions, EmbeddedRedis};
use gristmill_shared::connection::{Endpoint, Link, Timeouts};
use gristmill_shared::message::BlobRef;
use gristmill_shared::outcome::{Outcome, encode_run};
use gristmill_shared::results::{Collector, Hub};
use gristmill_shared::{BatchId, Keys, Namespace};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, cmd};
use tokio::time::{Instant, sleep};

const LONG: Duration = Duration::from_secs(30);

pub struct Fleet {
    redis: Option<EmbeddedRedis>,
    link: Link,
    keys: Keys,
    collector: Collector,
    hub: Hub,
}

impl Fleet {
    pub async fn start() -> Self {
        let redis = EmbeddedOptions::new().appendonly(AppendOnly::Always).start().unwrap();
        let endpoint = Endpoint::parse(&redis.url()).unwrap();
        let timeouts = Timeouts { response: Duration::from_secs(2), ..Timeouts::default() };
        let keys = Keys::new(&Namespace::new("gm").unwrap());
        let hub = Hub::new(endpoint.clone(), timeouts, keys.clone());
        let link = || Link::new(endpoint.clone(), timeouts);
        let collector = Collector::new(link(), keys.clone(), hub.clone()).patience(LONG);
        Self { redis: Some(redis), link: link(), keys, collector, hub }
    }

    pub fn collector(&self) -> Collector {
        self.collector.clone()
    }

    pub fn hub(&self) -> Hub {
        self.hub.clone()
    }

    async fn connection(&mut self) -> &mut MultiplexedConnection {
        self.link.reach(LONG).await.unwrap()
    }

    async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> T {
        command.query_async(self.connection().await).await.unwrap()
    }

    async fn new_batch(&mut self, fields: &[(&str, &str)]) -> BatchId {
        let batch = BatchId::new();
        self.run::<()>(cmd("HSET").arg(self.keys.batch(batch)).arg(fields)).await;
        batch
    }

    pub async fn open(&mut self) -> BatchId {
        self.new_batch(&[("state", "open"), ("single", "0")]).await
    }

    pub async fn open_single(&mut self) -> BatchId {
        self.new_batch(&[("state", "sealed"), ("single", "1"), ("total", "1")]).await
    }

    pub async fn say(&mut self, batch: BatchId, word: &[u8]) {
        self.run::<()>(cmd("PUBLISH").arg(self.keys.done(batch)).arg(word)).await;
    }

    pub async fn settle(&mut self, batch: BatchId, first: u64, outcomes: &[Outcome]) {
        self.settle_silently(batch, first, outcomes).await;
        self.say(batch, b"s").await;
    }

    pub async fn settle_silently(&mut self, batch: BatchId, first: u64, outcomes: &[Outcome]) {
        self.settle_bytes(batch, first, outcomes.len(), &encode_run(outcomes, &[]).unwrap()).await;
    }

    pub async fn settle_bytes(&mut self, batch: BatchId, first: u64, count: usize, value: &[u8]) {
        let bucket = self.keys.results(batch, Keys::bucket_of(first));
        self.run::<()>(cmd("HSET").arg(bucket).arg(first).arg(value)).await;
        self.run::<()>(cmd("RPUSH").arg(self.keys.runs(batch)).arg(format!("{first} {count}"))).await;
    }

    pub async fn settle_single(&mut self, batch: BatchId, outcome: &Outcome, inline: bool) {
        let run = encode_run(std::slice::from_ref(outcome), &[]).unwrap();
        self.run::<()>(cmd("HSET").arg(self.keys.batch(batch)).arg("outcome").arg(&run)).await;
        let word = if inline { [b"o", &run[..]].concat() } else { b"s".to_vec() };
        self.say(batch, &word).await;
    }

    pub async fn finish(&mut self, batch: BatchId, total: u64) {
        let fields = [("total", total.to_string()), ("state", "finished".to_owned())];
        self.run::<()>(cmd("HSET").arg(self.keys.batch(batch)).arg(&fields)).await;
        self.say(batch, b"f").await;
    }

    pub async fn expire(&mut self, batch: BatchId, time: Duration) {
        self.run::<()>(cmd("PEXPIRE").arg(self.keys.batch(batch)).arg(time.as_millis() as u64)).await;
    }

    pub async fn forget(&mut self, batch: BatchId, first: u64) {
        let bucket = self.keys.results(batch, Keys::bucket_of(first));
        self.run::<()>(cmd("HDEL").arg(bucket).arg(first)).await;
    }

    pub async fn blob(&mut self, batch: BatchId, blob: &BlobRef, bytes: &[u8]) {
        self.run::<()>(cmd("SET").arg(self.keys.blob(batch, &blob.name, 0)).arg(bytes)).await;
    }

    /// Drops the last `count` entries of the list of runs, as a Redis does that lost its last second.
    pub async fn roll_back_runs(&mut self, batch: BatchId, count: usize) {
        self.run::<()>(cmd("RPOP").arg(self.keys.runs(batch)).arg(count)).await;
    }

    pub async fn cut_subscriptions(&mut self) {
        self.run::<()>(cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub")).await;
    }

    pub async fn restart(&mut self) {
        let mut redis = self.redis.take().unwrap();
        let restarted = tokio::task::spawn_blocking(move || redis.restart().map(|()| redis)).await;
        self.redis = Some(restarted.unwrap().unwrap());
        self.link.drop_connection();
    }

    async fn subscribers(&mut self, batch: BatchId) -> u64 {
        let channel = self.keys.done(batch);
        let (_, count): (String, u64) = self.run(cmd("PUBSUB").arg("NUMSUB").arg(channel)).await;
        count
    }

    async fn wait_for_subscribers(&mut self, batch: BatchId, count: u64) {
        let deadline = Instant::now() + LONG;
        while self.subscribers(batch).await != count {
            assert!(Instant::now() < deadline, "the number of subscribers does not become {count}");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until Redis knows of exactly one subscriber.
    pub async fn subscribed(&mut self, batch: BatchId) {
        self.wait_for_subscribers(batch, 1).await;
    }

    pub async fn unsubscribed(&mut self, batch: BatchId) {
        self.wait_for_subscribers(batch, 0).await;
    }

    pub async fn subscription_connections(&mut self) -> usize {
        let list: String = self.run(cmd("CLIENT").arg("LIST").arg("TYPE").arg("pubsub")).await;
        list.lines().count()
    }
}
