//! Messages and parts that lie.

use std::time::Duration;

use gristmill::{BatchId, OutcomeKind};
use gristmill_broker::{Broker, Enqueue};
use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_shared::connection::{self, Endpoint, Timeouts};
use gristmill_shared::message::{BODY_VERSION, FLAG_SINGLE, SharedRef};
use gristmill_shared::shared_input::packing;
use gristmill_shared::{Body, Header, Lane, Message, Namespace, QueueName, codec, defaults};

use crate::{MIB, ended};

const PART: u64 = defaults::BLOB_PART_BYTES as u64;

/// Enqueues one task that names this shared input, of which these are the parts.
async fn enqueue(redis: &Redis, shared: SharedRef, parts: &[Vec<u8>]) -> BatchId {
    let endpoint = Endpoint::parse(&redis.url()).unwrap();
    let mut connection = connection::connect(&endpoint, &Timeouts::default()).await.unwrap();
    let broker = Broker::new(&Namespace::new("gm").unwrap());
    let (batch, queue, day) = (BatchId::new(), QueueName::new("default").unwrap(), Duration::from_secs(86_400));
    for (part, bytes) in parts.iter().enumerate() {
        broker.put_shared_part(&mut connection, batch, part, bytes, day).await.unwrap();
    }
    let expires_at_ms = broker.redis_time_ms(&mut connection).await.unwrap() + 86_400_000;
    let header = Header {
        version: BODY_VERSION,
        flags: FLAG_SINGLE,
        lane: Lane::Normal,
        attempt: 1,
        crashes: 0,
        losses: 0,
        expires_at_ms,
        batch,
        first: 0,
        count: 1,
        blob_offset: 0,
        queue: queue.clone(),
    };
    let args = vec![codec::encode(&(0u64, 1u64)).unwrap().into()];
    let body = Body { kernel: "shared.sum".into(), args, shared: Some(shared), ..Body::default() };
    let messages = [Message::new(header, &body).unwrap().encode().unwrap()];
    let call = Enqueue {
        batch,
        seq: 0,
        seal: true,
        single: true,
        kernel: "shared.sum",
        queue: &queue,
        lane: Lane::Normal,
        messages: &messages,
        due_at_ms: None,
        result_ttl: day,
        result_bytes: defaults::RESULT_BYTES_MAX,
        blobs: &[],
        once: None,
        fields: &[],
    };
    broker.enqueue(&mut connection, &call).await.unwrap();
    batch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_about_shared_input_fail_their_own_task_alone() {
    let redis = Redis::start();
    let worker = WorkerOptions::new().test_kernels().arg("--memory-limit 128MiB --shared-cache 8GiB").start(&redis);
    let client = redis.client().await;
    let name = |bytes, packed| SharedRef::new(bytes, packed);
    let zeros = packing::pack(&vec![0; 64 * MIB]);
    let mut lie = packing::pack(&[0; 99]);
    lie[..4].copy_from_slice(&(PART as u32).to_le_bytes());
    let small = vec![b"small".to_vec(); 512];
    let cases = [
        ("a lie about the size", name(512 * PART, None), small, "another size"),
        ("a longer part", name(3, None), vec![b"longer".to_vec()], "another size"),
        ("a part too many bytes", name(3, Some(9)), vec![vec![0; 300]], "another size"),
        ("unpacks to 64 MiB", name(PART, Some(9)), vec![zeros], "another size"),
        ("unpacks to less", name(PART, Some(9)), vec![lie], "damaged"),
        ("missing parts", name(3 * PART, None), vec![vec![0; PART as usize]], "is gone"),
        ("no such name", SharedRef { name: "a0".into(), ..name(1, None) }, vec![b"x".to_vec()], "cannot be read"),
        ("too much", name(defaults::SHARED_BYTES_MAX + 1, None), Vec::new(), "cannot be read"),
        ("nothing", name(0, None), Vec::new(), "cannot be read"),
    ];
    let before = worker.consumers();
    for (what, shared, parts, why) in cases {
        let batch = enqueue(&redis, shared, &parts).await;
        let failure = ended(client.handle::<(u64, u32)>(batch.task(0)).result().await);
        assert_eq!(failure.kind, OutcomeKind::Failed, "{what}: {failure}");
        assert!(failure.message.contains(why), "{what}: {failure}");
    }
    assert_eq!(worker.consumers(), before, "no process ended over it");
}
