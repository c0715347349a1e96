//! A private server, and short words for what the tests do to it.

use std::time::Duration;

use gristmill_broker::*;
use gristmill_embedded::EmbeddedRedis;
use gristmill_shared::connection::{self, Endpoint, Timeouts};
use gristmill_shared::dead_letter::Epitaph;
use gristmill_shared::message::{BODY_VERSION, FLAG_SINGLE};
use gristmill_shared::{
    BatchId, Body, ConsumerId, Failure, Header, Keys, Lane, Message, Namespace, Outcome, OutcomeKind, QueueName,
    TaskOptions, codec,
};
use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;

pub const LEASE: Duration = Duration::from_secs(10);
pub const DAY_MS: u64 = 24 * 3600 * 1000;
/// Far enough ahead that no message of a test expires unless it is meant to.
pub const LATE: u64 = 4_000_000_000_000;
pub const LOTS: Budget = Budget { messages: 100, tasks: 100_000, bytes: 1 << 20 };

pub fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

pub fn from(queues: &[&str]) -> Sources {
    Sources { queues: queues.iter().map(|name| queue(name)).collect(), parked: Vec::new() }
}

pub fn take(messages: usize) -> Budget {
    Budget { messages, ..LOTS }
}

/// A message of `count` tasks; its body is readable.
pub fn message(batch: BatchId, queue_name: &str, lane: Lane, first: u64, count: u32) -> Message {
    let header = Header {
        version: BODY_VERSION,
        flags: 0,
        lane,
        attempt: 1,
        crashes: 0,
        losses: 0,
        expires_at_ms: LATE,
        batch,
        first,
        count,
        blob_offset: 0,
        queue: queue(queue_name),
    };
    Message::new(header, &body(count)).unwrap()
}

pub fn body(count: u32) -> Body {
    let args = (0..count).map(|i| codec::encode(&i).unwrap().into()).collect();
    Body { kernel: "square".into(), args, blob: None, options: TaskOptions::default(), ..Body::default() }
}

pub fn single(batch: BatchId, queue_name: &str) -> Message {
    let mut message = message(batch, queue_name, Lane::Normal, 0, 1);
    message.header.flags = FLAG_SINGLE;
    message
}

/// The tasks of a message from `start` to before `end`.
pub fn part(message: &Message, start: u32, end: u32) -> Message {
    message.slice(&message.read_body().unwrap(), start..end).unwrap()
}

pub fn bad(kind: OutcomeKind) -> Outcome {
    Outcome::Bad(kind, Failure::new("no", 1))
}

pub fn run(message: &Message, outcomes: Vec<Outcome>) -> Run {
    let header = &message.header;
    Run { batch: header.batch, single: header.is_single(), first: header.first, outcomes, times: Vec::new() }
}

pub fn back(message: &Message, to: Destination) -> Replacement {
    Replacement { message: message.clone(), to }
}

pub fn letter(message: &Message, kind: OutcomeKind) -> Dead {
    Dead { epitaph: Epitaph::new(kind, "square", &Failure::new("no", 1)), message: message.clone() }
}

/// All tasks of these messages succeeded.
pub fn ok(messages: &[Message]) -> Settlement {
    let outcomes = |m: &Message| vec![Outcome::Value(vec![7]); m.header.count as usize];
    let runs = messages.iter().map(|m| run(m, outcomes(m))).collect();
    settlement(messages, Ending { runs, ..Ending::default() })
}

/// The single task of this message failed and is kept as a dead letter.
pub fn failed(message: &Message) -> Settlement {
    let kind = OutcomeKind::Failed;
    let ending =
        Ending { runs: vec![run(message, vec![bad(kind)])], dead: vec![letter(message, kind)], ..Ending::default() };
    settlement(std::slice::from_ref(message), ending)
}

pub fn settlement(messages: &[Message], ending: Ending) -> Settlement {
    Settlement { take: messages.iter().map(|m| (m.header.batch, m.header.queue.clone())).collect(), ending }
}

/// The messages of an answer, which the test knows to be readable.
pub fn parsed(claimed: &Claimed) -> Vec<Message> {
    claimed.messages.iter().map(|m| Message::parse(&m.bytes).unwrap()).collect()
}

pub fn flags(claimed: &Claimed) -> Vec<ClaimFlag> {
    claimed.messages.iter().map(|m| m.flag.clone()).collect()
}

/// What the call must have brought.
#[track_caller]
pub fn done(claim: Claim) -> Claimed {
    match claim {
        Claim::Done(claimed) => claimed,
        Claim::LeaseLost => panic!("the lease is lost"),
    }
}

#[track_caller]
pub fn refused<T>(result: Result<T, BrokerError>) -> String {
    match result {
        Err(BrokerError::Refused { what, .. }) => what,
        Err(other) => panic!("not refused, but: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

/// A consumer that counts its calls.
#[derive(Clone, Copy)]
pub struct Consumer {
    pub id: ConsumerId,
    pub op: u64,
}

impl Consumer {
    pub fn call(&self) -> Call {
        Call { consumer: self.id, op: self.op, lease: LEASE }
    }

    pub fn next(&mut self) -> Call {
        self.op += 1;
        self.call()
    }
}

pub struct Bench {
    pub conn: MultiplexedConnection,
    pub broker: Broker,
    pub redis: EmbeddedRedis,
}

impl Bench {
    pub async fn start() -> Self {
        let redis = EmbeddedRedis::start().unwrap();
        let conn = connect(&redis).await;
        Self { conn, broker: Broker::new(&Namespace::new("gm").unwrap()), redis }
    }

    pub fn keys(&self) -> &Keys {
        self.broker.keys()
    }

    /// Any command.
    pub async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut self.conn).await.unwrap()
    }

    /// A command with words that are no text; its answer does not matter.
    pub async fn ask_bytes(&mut self, words: &[&[u8]]) {
        let mut command = redis::cmd(std::str::from_utf8(words[0]).unwrap());
        words[1..].iter().for_each(|word| _ = command.arg(*word));
        command.exec_async(&mut self.conn).await.unwrap();
    }

    pub async fn now(&mut self) -> u64 {
        self.broker.redis_time_ms(&mut self.conn).await.unwrap()
    }

    pub async fn try_enqueue(&mut self, call: &Enqueue<'_>) -> Result<Enqueued, BrokerError> {
        self.broker.enqueue(&mut self.conn, call).await
    }

    /// A sealed batch of several, one message per count.
    pub async fn fill(&mut self, queue_name: &str, lane: Lane, counts: &[u32]) -> Vec<Message> {
        let (batch, mut first, mut messages) = (BatchId::new(), 0, Vec::new());
        for &count in counts {
            messages.push(message(batch, queue_name, lane, first, count));
            first += u64::from(count);
        }
        self.put(&messages, true).await;
        messages
    }

    pub async fn fill_one(&mut self, queue_name: &str) -> Message {
        let message = single(BatchId::new(), queue_name);
        self.put(std::slice::from_ref(&message), true).await;
        message
    }

    /// The first call of a batch.
    pub async fn put(&mut self, messages: &[Message], seal: bool) {
        let encoded: Vec<_> = messages.iter().map(|m| m.encode().unwrap()).collect();
        let call = Enqueue { seal, ..first_call(&messages[0], &encoded) };
        assert_eq!(self.try_enqueue(&call).await.unwrap(), Enqueued::Done { next_seq: 1 });
    }

    pub async fn join(&mut self) -> Consumer {
        let id = ConsumerId::new();
        assert!(self.broker.join(&mut self.conn, id, "w1", LEASE).await.unwrap());
        Consumer { id, op: 0 }
    }

    pub async fn claim(&mut self, consumer: &mut Consumer, sources: &Sources, budget: Budget) -> Claimed {
        let call = consumer.next();
        done(self.broker.claim(&mut self.conn, &call, sources, budget).await.unwrap())
    }

    /// Settles and claims nothing.
    pub async fn settle(&mut self, consumer: &mut Consumer, what: &Settlement) -> Claimed {
        let call = consumer.next();
        done(self.try_settle(&call, what).await.unwrap())
    }

    pub async fn try_settle(&mut self, call: &Call, what: &Settlement) -> Result<Claim, BrokerError> {
        self.broker.settle(&mut self.conn, call, what, &Sources::default(), Budget::NONE).await
    }

    /// ready, running, scheduled, parked and dead tasks.
    pub async fn counters(&mut self, name: &str) -> [u64; 5] {
        let s = self.broker.queue_stats(&mut self.conn, &queue(name)).await.unwrap();
        [s.ready_tasks, s.running_tasks, s.scheduled_tasks, s.parked_tasks, s.dead_tasks]
    }

    pub async fn record(&mut self, batch: BatchId) -> Option<BatchRecord> {
        self.broker.batch_record(&mut self.conn, batch).await.unwrap()
    }

    /// Whether the doorbell has rung since the last look.
    pub async fn rang(&mut self, name: &str) -> bool {
        let bell = self.keys().doorbell(&queue(name));
        self.ask::<u64>(&["DEL", &bell]).await == 1
    }

    pub async fn pause(&mut self, name: &str) {
        let paused = self.keys().paused();
        self.ask::<()>(&["SADD", &paused, name]).await;
    }

    /// When the lease of a consumer runs out, if it has one.
    pub async fn deadline(&mut self, id: ConsumerId) -> Option<u64> {
        let leases = self.keys().leases();
        self.ask(&["ZSCORE", &leases, &id.to_string()]).await
    }

    /// The lease of a consumer ran out a minute ago.
    pub async fn expire(&mut self, id: ConsumerId) {
        let (leases, then) = (self.keys().leases(), self.now().await - 60_000);
        self.ask::<()>(&["ZADD", &leases, &then.to_string(), &id.to_string()]).await;
    }

    /// Hears what is published about a batch.
    pub async fn listen(&mut self, batch: BatchId) -> Listener {
        let channel = self.keys().done(batch);
        Listener::start(&self.redis, &["SUBSCRIBE", &channel])
    }

    /// Overwrites a field of a batch.
    pub async fn set(&mut self, batch: BatchId, field: &str, value: impl ToString) {
        let key = self.keys().batch(batch);
        self.ask::<()>(&["HSET", &key, field, &value.to_string()]).await;
    }
}

/// Seals; to be varied by `..`.
pub fn first_call<'a>(message: &'a Message, encoded: &'a [Vec<u8>]) -> Enqueue<'a> {
    let header = &message.header;
    Enqueue {
        batch: header.batch,
        seq: 0,
        seal: true,
        single: header.is_single(),
        kernel: "square",
        queue: &header.queue,
        lane: header.lane,
        messages: encoded,
        due_at_ms: None,
        result_ttl: Duration::from_millis(DAY_MS),
        result_bytes: gristmill_shared::defaults::RESULT_BYTES_MAX,
        blobs: &[],
        once: None,
        fields: &[],
    }
}

pub async fn connect(redis: &EmbeddedRedis) -> MultiplexedConnection {
    connection::connect(&Endpoint::parse(&redis.url()).unwrap(), &Timeouts::default()).await.unwrap()
}

/// A connection of its own to which the server pushes: messages, or what it is told to do.
pub struct Listener(redis::Connection);

impl Listener {
    pub fn start(redis: &EmbeddedRedis, command: &[&str]) -> Self {
        let client = redis::Client::open(redis.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _: redis::Value = redis::cmd(command[0]).arg(&command[1..]).query(&mut connection).unwrap();
        Self(connection)
    }

    pub fn hear(&mut self) -> redis::Value {
        self.0.recv_response().unwrap()
    }

    /// The next message of a channel.
    pub fn next(&mut self) -> Vec<u8> {
        match redis::from_redis_value::<(String, String, Vec<u8>)>(self.hear()) {
            Ok((_, _, payload)) => payload,
            Err(error) => panic!("no message, but: {error}"),
        }
    }
}
