//! What several hundred thousand outcomes cost when they go.

use std::collections::BTreeSet;

use gristmill_broker::*;
use gristmill_shared::{BatchId, Lane, defaults};

use crate::fixture::*;
use crate::rules::Monitor;

const BUCKETS: u64 = 37;
const OUTCOMES: u64 = BUCKETS * defaults::RESULTS_PER_BUCKET;

/// A finished batch with 303,104 outcomes, each a run of its own.
async fn huge(b: &mut Bench) -> BatchId {
    let m = b.fill("a", Lane::Normal, &[1]).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &ok(&m)).await;
    let id = m[0].header.batch;
    let fill = "for i = ARGV[1], ARGV[2] do
        redis.call('HSET', KEYS[1], i, 'an outcome')
        redis.call('RPUSH', KEYS[2], i .. ' 1') end";
    let runs = b.keys().runs(id);
    for bucket in 0..BUCKETS {
        let key = b.keys().results(id, bucket);
        let (first, last) = (bucket * defaults::RESULTS_PER_BUCKET, (bucket + 1) * defaults::RESULTS_PER_BUCKET - 1);
        b.ask::<()>(&["EVAL", fill, "2", &key, &runs, &first.to_string(), &last.to_string()]).await;
    }
    for field in ["tasks", "total", "succeeded"] {
        b.set(id, field, OUTCOMES).await;
    }
    id
}

/// What scripts deleted, as command and key; nothing that blocks may delete a large key.
async fn deleted(b: &mut Bench, monitor: &mut Monitor, id: BatchId) -> BTreeSet<(String, String)> {
    let small = [b.keys().none(), b.keys().batch(id)];
    let mut deleted = BTreeSet::new();
    for (_, words) in monitor.commands(b).await {
        let command = words[0].to_ascii_uppercase();
        match command.as_str() {
            "DEL" => assert!(words[1..].iter().all(|key| small.contains(key)), "{words:?} blocks"),
            "HDEL" => assert!(words.len() <= 2 + defaults::CALL_MESSAGES_MAX, "{} fields at once", words.len() - 2),
            "UNLINK" => assert!(words.len() <= 2, "one key each"),
            // Whatever else makes a key go does so at once, and may not be used on ours.
            other => assert!(!["LTRIM", "RENAME", "EXPIRE", "PEXPIRE", "PEXPIREAT"].contains(&other), "{words:?}"),
        }
        if ["DEL", "UNLINK", "HDEL"].contains(&command.as_str()) {
            deleted.insert((command, words[1].clone()));
        }
    }
    deleted
}

#[tokio::test]
async fn a_huge_batch_goes_without_a_command_that_blocks() {
    let mut b = Bench::start().await;
    let id = huge(&mut b).await;
    let firsts: Vec<u64> = (0..100_000).collect();
    let mut monitor = Monitor::start(&b);
    b.broker.forget(&mut b.conn, id, &firsts, &[]).await.unwrap();
    let gone = deleted(&mut b, &mut monitor, id).await;
    assert!(gone.contains(&("HDEL".to_owned(), b.keys().results(id, 12))));
    assert_eq!(b.ask::<u64>(&["HLEN", &b.keys().results(id, 12).clone()]).await, 13 * 8192 - 100_000);

    for field in ["finished_at_ms", "touched_at_ms"] {
        b.set(id, field, 1).await;
    }
    let mut monitor = Monitor::start(&b);
    assert_eq!(b.broker.sweep(&mut b.conn, id).await.unwrap(), Swept::Gone);
    let gone = deleted(&mut b, &mut monitor, id).await;
    let unlinked = (0..BUCKETS).map(|bucket| b.keys().results(id, bucket)).chain([b.keys().runs(id)]);
    for key in unlinked {
        assert!(gone.contains(&("UNLINK".to_owned(), key.clone())), "{key}");
    }
    assert_eq!(b.ask::<Vec<String>>(&["KEYS", &format!("*{id}*")]).await, [""; 0]);
}
