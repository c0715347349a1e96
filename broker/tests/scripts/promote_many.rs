//! A great many messages that are due at once, and many agents that promote them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use gristmill_broker::{Broker, Enqueue};
use gristmill_shared::{BatchId, Header, Lane, Namespace};
use redis::aio::MultiplexedConnection;

use crate::fixture::*;

const AGENTS: usize = 4;
/// Of ten tasks each: a million tasks.
const MESSAGES: u64 = 100_000;
const TASKS_PER_MESSAGE: u32 = 10;
/// What a batch of one call has in common: the due time.
const PER_CALL: u64 = 1_000;

/// Messages of three lanes in turn, each call due a millisecond before the one that was sent before it: what was sent
/// last is due first.
async fn schedule(b: &mut Bench, messages: u64, due_at: u64) {
    let mut calls = messages / PER_CALL;
    while calls > 0 {
        calls -= 1;
        let (batch, lane) = (BatchId::new(), Lane::ALL[calls as usize % 3]);
        let template = message(batch, "a", lane, 0, TASKS_PER_MESSAGE);
        let encoded: Vec<_> = (0..PER_CALL)
            .map(|i| {
                let mut message = template.clone();
                message.header.first = i * u64::from(TASKS_PER_MESSAGE);
                message.encode().unwrap()
            })
            .collect();
        let call = Enqueue { due_at_ms: Some(due_at + calls), ..first_call(&template, &encoded) };
        b.try_enqueue(&call).await.unwrap();
    }
}

/// Promotes until nothing is left to promote; returns how many messages, and the longest call.
async fn agent(mut conn: MultiplexedConnection) -> (u64, Duration) {
    let broker = Broker::new(&Namespace::new("gm").unwrap());
    let (mut moved, mut longest) = (0, Duration::ZERO);
    loop {
        let start = Instant::now();
        let count = broker.promote(&mut conn, &queue("a")).await.unwrap();
        longest = longest.max(start.elapsed());
        assert!(count <= 1_000, "{count} messages in one call");
        moved += count;
        if count == 0 {
            return (moved, longest);
        }
    }
}

/// The longest time that any one call kept Redis to itself, by its own account.
async fn longest_call_us(b: &mut Bench) -> u64 {
    let log: Vec<(u64, u64, u64, Vec<redis::Value>, String, String)> = b.ask(&["SLOWLOG", "GET", "1000"]).await;
    log.iter().map(|entry| entry.2).max().unwrap_or(0)
}

/// Everything that waits in a lane, in its order.
async fn lane(b: &mut Bench, lane: Lane) -> Vec<Header> {
    let key = b.keys().ready(&queue("a"), lane);
    let mut headers = Vec::new();
    loop {
        let (from, to) = (headers.len().to_string(), (headers.len() + 9_999).to_string());
        let part: Vec<Vec<u8>> = b.ask(&["LRANGE", &key, &from, &to]).await;
        if part.is_empty() {
            return headers;
        }
        headers.extend(part.iter().map(|bytes| Header::parse(bytes).unwrap().0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_tasks_due_at_once_move_once_in_order_and_in_small_steps() {
    let mut b = Bench::start().await;
    b.ask::<()>(&["CONFIG", "SET", "slowlog-log-slower-than", "10000"]).await;
    let due_at = b.now().await + 60_000;
    schedule(&mut b, MESSAGES, due_at).await;
    let tasks = MESSAGES * u64::from(TASKS_PER_MESSAGE);
    assert_eq!(b.counters("a").await, [0, 0, tasks, 0, 0]);
    assert_eq!(b.broker.promote(&mut b.conn, &queue("a")).await.unwrap(), 0, "nothing is due yet");
    // All become due at the same moment.
    let scheduled = b.keys().scheduled(&queue("a"));
    let factor = "1e-6";
    b.ask::<u64>(&["ZUNIONSTORE", &scheduled, "1", &scheduled, "WEIGHTS", factor]).await;
    b.ask::<()>(&["SLOWLOG", "RESET"]).await;
    b.rang("a").await;

    let mut agents = Vec::new();
    for _ in 0..AGENTS {
        agents.push(tokio::spawn(agent(connect(&b.redis).await)));
    }
    let mut moved = Vec::new();
    for agent in agents {
        moved.push(agent.await.unwrap().0);
    }
    assert_eq!(moved.iter().sum::<u64>(), MESSAGES, "{moved:?}");
    assert!(moved.iter().all(|&moved| moved > 0), "all of them helped: {moved:?}");
    assert_eq!(b.counters("a").await, [tasks, 0, 0, 0, 0]);
    assert!(b.rang("a").await, "idle consumers are woken");
    let longest = longest_call_us(&mut b).await;
    assert!(longest < 100_000, "one call kept Redis for {longest} µs");

    let mut seen = HashSet::new();
    for its in Lane::ALL {
        let headers = lane(&mut b, its).await;
        assert!(headers.iter().all(|header| header.lane == its));
        // Sent last, due first: ids of batches count up with the time of sending.
        assert!(
            headers.is_sorted_by_key(|header| (std::cmp::Reverse(header.batch), header.first)),
            "{its:?} by due time"
        );
        assert!(headers.iter().all(|header| seen.insert((header.batch, header.first))), "nothing twice");
    }
    assert_eq!(seen.len() as u64, MESSAGES);
}
