//! A batch in messages as large as can be, where a client would choose chunks by its own measure.

use std::time::Duration;

use gristmill_broker::{Broker, Enqueue, Enqueued};
use gristmill_shared::connection::{self, Endpoint, Timeouts};
use gristmill_shared::defaults::MESSAGE_TASKS_MAX;
use gristmill_shared::message::BODY_VERSION;
use gristmill_shared::serde_bytes::ByteBuf;
use gristmill_shared::{BatchId, Body, Header, Lane, Message, Namespace, QueueName, TaskOptions, codec};
use serde::Serialize;

use crate::redis::Redis;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Enqueues all these tasks as one sealed batch, in as few messages as can be.
pub async fn enqueue_chunk<A: Serialize>(redis: &Redis, kernel: &str, args: &[A]) -> BatchId {
    enqueue_messages(redis, kernel, args, MESSAGE_TASKS_MAX).await
}

/// Enqueues all these tasks as one sealed batch, so many in each message.
pub async fn enqueue_messages<A: Serialize>(redis: &Redis, kernel: &str, args: &[A], tasks_each: u32) -> BatchId {
    let endpoint = Endpoint::parse(&redis.url()).expect("a valid URL");
    let mut connection = connection::connect(&endpoint, &Timeouts::default()).await.expect("the private Redis answers");
    let broker = Broker::new(&Namespace::new("gm").expect("a valid name"));
    let now_ms = broker.redis_time_ms(&mut connection).await.expect("the private Redis answers");
    let batch = BatchId::new();
    let queue = QueueName::new("default").expect("a valid name");
    let mut messages = Vec::new();
    for (n, args) in args.chunks(tasks_each as usize).enumerate() {
        let first = n as u64 * u64::from(tasks_each);
        let message = message(batch, &queue, kernel, first, args, now_ms + DAY.as_millis() as u64);
        messages.push(message.encode().expect("a small message"));
    }
    let call = Enqueue {
        batch,
        seq: 0,
        seal: true,
        single: false,
        kernel,
        queue: &queue,
        lane: Lane::Normal,
        messages: &messages,
        due_at_ms: None,
        result_ttl: DAY,
        result_bytes: gristmill_shared::defaults::RESULT_BYTES_MAX,
        blobs: &[],
        once: None,
        fields: &[],
    };
    let enqueued = broker.enqueue(&mut connection, &call).await.expect("the private Redis answers");
    assert_eq!(enqueued, Enqueued::Done { next_seq: 1 });
    batch
}

fn message<A: Serialize>(
    batch: BatchId,
    queue: &QueueName,
    kernel: &str,
    first: u64,
    args: &[A],
    expires_at_ms: u64,
) -> Message {
    let header = Header {
        version: BODY_VERSION,
        flags: 0,
        lane: Lane::Normal,
        attempt: 1,
        crashes: 0,
        losses: 0,
        expires_at_ms,
        batch,
        first,
        count: args.len() as u32,
        blob_offset: 0,
        queue: queue.clone(),
    };
    let args = args.iter().map(|value| ByteBuf::from(codec::encode(value).expect("plain values"))).collect();
    let body = Body { kernel: kernel.to_owned(), args, blob: None, options: TaskOptions::default(), ..Body::default() };
    Message::new(header, &body).expect("header and body agree")
}
