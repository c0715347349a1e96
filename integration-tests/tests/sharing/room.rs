//! A Redis that has no room for shared input.

use std::time::Duration;

use gristmill::{ClientError, SubmitOptions, WhenFull};
use gristmill_integration_tests::{Redis, WorkerOptions, eventually};
use gristmill_kernels::test_kernels::sum_shared;

use crate::{MIB, noise, parts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_does_not_fit_nothing_is_uploaded() {
    let mut redis = Redis::start();
    let client = redis.client().await;
    redis.command::<()>(&format!("CONFIG SET maxmemory {}", 60 * MIB));
    let options = |mib: usize| SubmitOptions::new().shared_bytes(noise(mib * MIB));
    // It can never fit, however long one waits.
    let large = options(49);
    for when_full in [WhenFull::Fail, WhenFull::Wait] {
        let never = client.submit_with(sum_shared, (0, 1), &large.clone().when_full(when_full)).await.err().unwrap();
        assert!(matches!(never, ClientError::SharedTooLarge { .. }), "{never}");
        assert!(never.to_string().contains("takes 49"), "{never}");
    }
    // What can be packed may fit.
    let zeros = SubmitOptions::new().shared_bytes(vec![0; 56 * MIB]);
    let task = client.submit_with(sum_shared, (0, 1), &zeros).await.unwrap();
    // It does not fit beside what is there.
    redis.command::<()>(&format!("SETRANGE filler {} x", 40 * MIB));
    let full = client.submit_with(sum_shared, (0, 1), &options(9)).await.err().unwrap();
    assert!(matches!(full, ClientError::MemoryLimit(_)) && full.is_refusal(), "{full}");
    assert!(full.to_string().contains("the shared input takes 9"), "{full}");
    assert_eq!(parts(&mut redis).len(), 8, "those of the task that was taken");
    // Whoever waits goes on when there is room.
    let patient = options(9).when_full(WhenFull::Wait).room_timeout(Duration::from_secs(30));
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.submit_with(sum_shared, (0, 1), &patient).await.map(|handle| handle.id()) }
    });
    redis.command::<()>("DEL filler");
    let second = waiting.await.unwrap().unwrap();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    assert_eq!(task.result().await.unwrap().0, 0);
    client.handle::<(u64, u32)>(second).result().await.unwrap();
    eventually("all is gone", || parts(&mut redis).is_empty().then_some(()));
}
