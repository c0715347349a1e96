//! Arguments and outputs that are too large for a message travel in parts.

use gristmill::{ClientError, Handle, SubmitOptions};
use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_shared::defaults::BLOB_BYTES_MAX;
use gristmill_shared::serde_bytes::ByteBuf;

fn bytes(len: usize) -> ByteBuf {
    ByteBuf::from((0..len).map(|i| ((i * 31) >> 3) as u8).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_come_back_equal() {
    let mut redis = Redis::start();
    let _worker = WorkerOptions::new().consumers(2).start(&redis);
    let client = redis.client().await;
    for len in [1 << 20, 10 << 20] {
        let sent = bytes(len);
        let echo: Handle<ByteBuf> = client.submit_dyn("echo", &sent, &SubmitOptions::new()).await.unwrap();
        assert!(echo.result().await.unwrap() == sent, "{len} bytes came back changed");
    }
    let many: Vec<ByteBuf> = (1..=8).map(|n| bytes(n * 100_000)).collect();
    let map = client.map_dyn::<ByteBuf, _>("echo", many.clone(), &SubmitOptions::new()).await.unwrap();
    assert!(map.collect().await.unwrap() == many, "a map's blobs came back changed");
    for key in redis.matching("{gm}:blob:*") {
        assert_ne!(redis.command::<i64>(&format!("PTTL {key}")), -1, "{key} would stay for ever");
    }
    let refused = client.submit_dyn::<ByteBuf>("echo", &bytes(BLOB_BYTES_MAX + 1), &SubmitOptions::new()).await;
    let error = refused.expect_err("it is too large");
    assert!(matches!(error, ClientError::Codec(_) | ClientError::Invalid(_)), "{error}");
    assert!(error.to_string().contains(&BLOB_BYTES_MAX.to_string()) || error.to_string().contains("32 MiB"), "{error}");
}
