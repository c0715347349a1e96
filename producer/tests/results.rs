//! What a map leaves in Redis of results that its caller got, and of those that it did not get.

use std::time::Duration;

use gristmill::shared::{ConsumerId, Keys, Message, Outcome};
use gristmill::{BatchId, Client, ClientError, MapHandle, Namespace, QueueName, SubmitOptions};
use gristmill_broker::{Broker, Budget, Call, Claim, Ending, Run, Settlement, Sources};
use gristmill_embedded::EmbeddedRedis;
use redis::aio::MultiplexedConnection;

const TASKS: u64 = 700;

/// A server, a client, and a hand that settles as a worker would.
struct Scene {
    client: Client,
    redis: MultiplexedConnection,
    broker: Broker,
    consumer: ConsumerId,
    op: u64,
    _server: EmbeddedRedis,
}

impl Scene {
    async fn new() -> Self {
        let server = EmbeddedRedis::start().unwrap();
        let client = Client::connect(server.url()).await.unwrap();
        let mut redis = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let (broker, consumer) = (Broker::new(&Namespace::new("gm").unwrap()), ConsumerId::new());
        assert!(broker.join(&mut redis, consumer, "w", Duration::from_secs(60)).await.unwrap());
        Self { client, redis, broker, consumer, op: 0, _server: server }
    }

    fn call(&mut self) -> Call {
        self.op += 1;
        Call { consumer: self.consumer, op: self.op, lease: Duration::from_secs(60) }
    }

    /// Claims `count` tasks of one message each.
    async fn claim(&mut self, count: u64) -> Vec<Message> {
        let sources = Sources { queues: vec![QueueName::new("default").unwrap()], parked: Vec::new() };
        let mut messages = Vec::new();
        while messages.len() < count as usize {
            let (call, budget) = (self.call(), Budget { messages: 1000, tasks: 1000, bytes: 1 << 20 });
            match self.broker.claim(&mut self.redis, &call, &sources, budget).await.unwrap() {
                Claim::Done(claimed) => {
                    messages.extend(claimed.messages.iter().map(|claimed| Message::parse(&claimed.bytes).unwrap()));
                }
                Claim::LeaseLost => panic!("the lease is lost"),
            }
        }
        messages
    }

    /// Settles claimed messages from the oldest on: each task returns the nil of MessagePack.
    async fn settle(&mut self, messages: &[Message]) {
        let take = messages.iter().map(|message| (message.header.batch, message.header.queue.clone())).collect();
        let run = |message: &Message| Run {
            batch: message.header.batch,
            single: false,
            first: message.header.first,
            outcomes: vec![Outcome::Value(vec![0xc0]); message.header.count as usize],
            times: Vec::new(),
        };
        let ending = Ending { runs: messages.iter().map(run).collect(), ..Ending::default() };
        let (call, what) = (self.call(), Settlement { take, ending });
        let settled = self.broker.settle(&mut self.redis, &call, &what, &Sources::default(), Budget::NONE).await;
        assert!(matches!(settled, Ok(Claim::Done(_))));
    }

    async fn stored(&mut self, batch: BatchId) -> u64 {
        let key = self.client.keys().results(batch, Keys::bucket_of(0));
        redis::cmd("HLEN").arg(key).query_async(&mut self.redis).await.unwrap()
    }

    /// An ordered map of which everything has ended, the first item last.
    async fn first_ends_last(&mut self) -> MapHandle<()> {
        let options = SubmitOptions::new().chunk(1);
        let mut handle = self.client.map_dyn::<(), _>("square", 0..TASKS, &options).await.unwrap();
        let mut first = Vec::new();
        let mut left = TASKS;
        while left > 0 {
            // Who never asks for a result keeps the window shut.
            let mut claimed = tokio::select! {
                claimed = self.claim(1) => claimed,
                result = handle.next() => panic!("there is no first result: {}", result.is_some()),
            };
            left -= claimed.len() as u64;
            if first.is_empty() {
                // In flight it would stand before all others.
                first.push(claimed.remove(0));
                self.put_aside(&first[0]).await;
            }
            self.settle(&claimed).await;
        }
        self.take_back(&first[0]).await;
        self.settle(&first).await;
        handle
    }

    async fn inflight(&mut self, words: &[&str], message: &Message) {
        let key = self.client.keys().inflight(self.consumer);
        let mut command = redis::cmd(words[0]);
        command.arg(key).arg(&words[1..]).arg(message.encode().unwrap());
        command.query_async::<()>(&mut self.redis).await.unwrap();
    }

    async fn put_aside(&mut self, message: &Message) {
        self.inflight(&["LREM", "1"], message).await;
    }

    async fn take_back(&mut self, message: &Message) {
        self.inflight(&["LPUSH"], message).await;
    }
}

#[tokio::test]
async fn results_that_the_caller_never_got_stay_for_others() {
    let mut scene = Scene::new().await;
    let mut handle = scene.first_ends_last().await;
    // Behind the first everything came through the channel.
    handle.next().await.unwrap().unwrap();
    let batch = handle.leave().await.unwrap();
    assert_eq!(scene.stored(batch).await, TASKS);
    let mut results = scene.client.results_present(batch);
    let mut seen = Vec::new();
    while let Some(item) = results.next().await {
        let (index, result) = item.unwrap();
        assert_eq!(result.unwrap(), [0xc0], "{index}");
        seen.push(index);
    }
    assert_eq!(seen, Vec::from_iter(0..TASKS), "in the order of the tasks");
    for index in [0, TASKS - 1] {
        let result = scene.client.result_present(batch.task(index)).await.unwrap();
        assert_eq!(result.unwrap().unwrap(), [0xc0]);
    }
    let beyond = scene.client.result_present(batch.task(TASKS)).await;
    assert!(matches!(beyond, Err(ClientError::NoSuchTask(task)) if task.index == TASKS));
}

#[tokio::test]
async fn results_that_the_caller_got_are_deleted() {
    let mut scene = Scene::new().await;
    let handle = scene.first_ends_last().await;
    let batch = handle.id();
    assert_eq!(handle.collect().await.unwrap().len() as u64, TASKS);
    assert_eq!(scene.stored(batch).await, 0);
}

#[tokio::test]
async fn results_stay_until_the_caller_says_that_they_are_safe() {
    let mut scene = Scene::new().await;
    let options = SubmitOptions::new().chunk(1).acknowledge(true);
    let mut handle = scene.client.map_dyn::<(), _>("square", 0..TASKS, &options).await.unwrap();
    let batch = handle.id();
    let mut got = 0;
    while got < TASKS {
        let claimed = scene.claim(1).await;
        scene.settle(&claimed).await;
        for _ in claimed {
            handle.next().await.unwrap().unwrap();
            got += 1;
        }
    }
    assert_eq!(scene.stored(batch).await, TASKS, "nothing is safe yet");
    assert!(handle.next().await.is_none() && handle.next().await.is_none(), "the end needs no word of the caller");
    handle.acknowledge(600);
    // Closing waits until Redis has forgotten what may be forgotten.
    handle.close().await;
    assert_eq!(scene.stored(batch).await, TASKS - 600);
    assert!(scene.client.result_present(batch.task(599)).await.unwrap().unwrap().is_err(), "it was delivered");
    assert_eq!(scene.client.result_present(batch.task(600)).await.unwrap().unwrap().unwrap(), [0xc0]);
}

#[tokio::test]
async fn what_was_acknowledged_goes_while_the_map_runs() {
    let mut scene = Scene::new().await;
    let options = SubmitOptions::new().chunk(1).acknowledge(true);
    let mut handle = scene.client.map_dyn::<(), _>("square", 0..10 * TASKS, &options).await.unwrap().unordered();
    let (batch, mut got, mut most) = (handle.id(), 0, 0);
    while got < 10 * TASKS {
        let claimed = scene.claim(1).await;
        scene.settle(&claimed).await;
        for _ in claimed {
            handle.next().await.unwrap().1.unwrap();
            got += 1;
            handle.acknowledge(got);
        }
        most = most.max(scene.stored(batch).await);
    }
    assert!(most < 3 * TASKS, "{most} results stood in Redis at once");
    assert!(handle.next().await.is_none());
    handle.close().await;
    assert_eq!(scene.stored(batch).await, 0);
}
