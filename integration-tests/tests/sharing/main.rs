//! Large data: shared input, uploaded once, fetched once by each consumer, gone with its batch; arguments and outputs that
//! travel beside their messages.

mod hostile;
mod large;
mod life;
mod memory;
mod room;
mod shell;
mod traffic;

use std::collections::BTreeMap;

use gristmill::{BatchId, OutcomeKind, SubmitOptions, TaskError, TaskFailure};
use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_kernels::Value;
use gristmill_kernels::test_kernels::{lookup, sum_shared};

const MIB: usize = 1 << 20;

/// Bytes that no packing makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(bytes.div_ceil(8)).flatten().take(bytes).collect()
}

/// What the tasks of `shared.sum` return.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

/// The parts of shared input that are in Redis.
fn parts(redis: &mut Redis) -> Vec<String> {
    redis.matching("{gm}:blob:*:s:*")
}

fn ended<T: std::fmt::Debug>(result: Result<T, TaskError>) -> TaskFailure {
    match result {
        Err(TaskError::Ended(failure)) => failure,
        other => panic!("it must not succeed: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_shared_by_one_task_and_by_many() {
    let mut redis = Redis::start();
    let _worker = WorkerOptions::new().consumers(2).test_kernels().start(&redis);
    let client = redis.client().await;
    let table: BTreeMap<String, u64> = (0..50_000).map(|n| (format!("key {n}"), n * n)).collect();
    let shared = SubmitOptions::new().shared(&table);
    let one = client.submit_with(lookup, "key 7".into(), &shared).await.unwrap();
    assert_eq!(one.result().await.unwrap(), Value::UInt(49));
    let keys = (0..1_000).map(|n| format!("key {n}"));
    let many = client.map_with(lookup, keys, &shared).await.unwrap().collect().await.unwrap();
    let expected: Vec<_> = (0..1_000).map(|n| Value::UInt(n * n)).collect();
    assert_eq!(many, expected);
    gristmill_integration_tests::eventually("nobody needs it any more", || parts(&mut redis).is_empty().then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_kernel_cannot_read_fails_its_task_with_the_reason() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    let retried = SubmitOptions::new().retries(5);
    let none = client.submit_with(lookup, "a".into(), &retried).await.unwrap();
    let other = client.submit_with(lookup, "a".into(), &retried.clone().shared(&[1, 2])).await.unwrap();
    let text = client.submit_with(sum_shared, (0, 1), &retried.shared("text")).await.unwrap();
    for (task, why) in [
        (ended(none.result().await), "no shared input"),
        (
            ended(other.result().await),
            "the shared input is an array, and the kernel takes something else: invalid type: sequence",
        ),
        (ended(text.result().await), "a text stands where binary data is expected"),
    ] {
        assert_eq!((task.kind, task.attempt), (OutcomeKind::Failed, 1), "trying again is in vain: {task}");
        assert!(task.message.contains(why), "{task}");
    }
}

/// The key of one part.
fn key(batch: BatchId, part: usize) -> String {
    format!("{{gm}}:blob:{batch}:s:{part}")
}
