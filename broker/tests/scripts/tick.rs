use std::collections::BTreeSet;

use gristmill_broker::*;
use gristmill_shared::{Certificate, DeathCause, Lane};

use crate::fixture::*;

async fn tick(b: &mut Bench) -> Tick {
    tick_from(b, 0).await
}

async fn tick_from(b: &mut Bench, cursor: u64) -> Tick {
    b.broker.tick(&mut b.conn, &[queue("a"), queue("p")], LEASE, cursor).await.unwrap()
}

async fn clock(b: &mut Bench, last_tick_ms: u64, grace_until_ms: u64) {
    let key = b.keys().clock();
    let (last, grace) = (last_tick_ms.to_string(), grace_until_ms.to_string());
    b.ask::<()>(&["HSET", &key, "last_tick_ms", &last, "grace_until_ms", &grace]).await;
}

#[tokio::test]
async fn a_gap_or_a_clock_that_jumped_back_grants_grace() {
    let mut b = Bench::start().await;
    let first = tick(&mut b).await;
    assert_eq!(first.grace_until_ms, first.now_ms + 5_000, "the first tick knows nothing");
    let now = b.now().await;
    clock(&mut b, now - 2_000, now - 1).await;
    let steady = tick(&mut b).await;
    assert_eq!(steady.grace_until_ms, now - 1);
    for last in [now - 10_000, now + 60_000] {
        clock(&mut b, last, 0).await;
        let after = tick(&mut b).await;
        assert_eq!(after.grace_until_ms, after.now_ms + 5_000);
    }
    clock(&mut b, now, now + 100 * DAY_MS).await;
    let after = tick(&mut b).await;
    assert!(after.grace_until_ms <= after.now_ms + 600_000, "a grace for ever comes from a clock that jumped");
}

#[tokio::test]
async fn expired_leases_are_listed_after_grace_only() {
    let mut b = Bench::start().await;
    let (dead, alive) = (b.join().await, b.join().await);
    b.expire(dead.id).await;
    assert!(tick(&mut b).await.expired.is_empty());
    let now = b.now().await;
    clock(&mut b, now, now - 1).await;
    let expired = tick(&mut b).await.expired;
    assert_eq!(expired, [dead.id]);
    assert!(b.deadline(alive.id).await.unwrap() > now);
}

#[tokio::test]
async fn deadlines_far_ahead_are_clamped() {
    let mut b = Bench::start().await;
    let c = b.join().await;
    let (leases, far) = (b.keys().leases(), b.now().await + DAY_MS);
    b.ask::<()>(&["ZADD", &leases, &far.to_string(), &c.id.to_string()]).await;
    let now = tick(&mut b).await.now_ms;
    assert_eq!(b.deadline(c.id).await, Some(now + 10_000));
}

#[tokio::test]
async fn lost_rings_are_healed_but_not_for_the_paused_or_the_empty() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Low, &[1]).await;
    b.fill("p", Lane::Normal, &[1]).await;
    b.fill("z", Lane::Normal, &[1]).await;
    for name in ["a", "p", "z"] {
        b.rang(name).await;
    }
    b.pause("p").await;
    tick(&mut b).await;
    assert!(b.rang("a").await && !b.rang("p").await && !b.rang("z").await, "only the caller's own queues");
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    tick(&mut b).await;
    assert!(!b.rang("a").await);
    b.audit().await;
}

#[tokio::test]
async fn suspects_that_nobody_judged_are_listed() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[1; 200]).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), Budget { messages: 200, ..LOTS }).await;
    let now = b.now().await;
    clock(&mut b, now, now - 1).await;
    b.expire(c.id).await;
    b.broker.reclaim(&mut b.conn, c.id, &DeathReport::Expired, &[]).await.unwrap();
    assert!(tick(&mut b).await.suspects.is_empty(), "they are too young");
    let key = b.keys().suspects();
    let age = "for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
        redis.call('HSET', KEYS[1], field, string.rep('\\0', 8) .. string.sub(redis.call('HGET', KEYS[1], field), 9)) end";
    b.ask::<()>(&["EVAL", age, "1", &key]).await;
    let found = tick(&mut b).await.suspects;
    assert!((1..=64).contains(&found.len()), "{}", found.len());
    let suspect = gristmill_shared::suspect::Suspect::parse(&found[0].1).unwrap();
    let unseen = Certificate::unseen(DeathCause::Loss, c.id.to_string(), "");
    assert_eq!((suspect.certificate.cause, suspect.certificate.consumer), (unseen.cause, unseen.consumer));
    b.audit().await;
}

#[tokio::test]
async fn suspects_that_nobody_can_judge_hide_no_others() {
    for size in [20, 200] {
        let mut b = Bench::start().await;
        let key = b.keys().suspects();
        let fill = "for i = 1, 300 do redis.call('HSET', KEYS[1], 'f' .. i, string.rep('\\0', ARGV[1])) end";
        b.ask::<()>(&["EVAL", fill, "1", &key, &size.to_string()]).await;
        let (mut seen, mut cursor) = (BTreeSet::new(), 0);
        for _ in 0..2_000 {
            let found = tick_from(&mut b, cursor).await;
            assert!(found.suspects.len() <= 64, "{}", found.suspects.len());
            seen.extend(found.suspects.into_iter().map(|(field, _)| field));
            cursor = found.cursor;
            if seen.len() == 300 {
                break;
            }
        }
        assert_eq!(seen.len(), 300, "of {size} bytes");
    }
}

#[tokio::test]
async fn foreign_bytes_are_skipped() {
    let mut b = Bench::start().await;
    let (suspects, leases, batches) = (b.keys().suspects(), b.keys().leases(), b.keys().batches());
    let none: &[u8] = b"no\xfftext";
    let old = [&[0; 12][..], b"whatever"].concat();
    let mut pipe = redis::pipe();
    pipe.hset(&suspects, "short", "x").hset(&suspects, "empty", "").hset(&suspects, none, &old);
    pipe.hset(&suspects, "old", &old).zadd(&leases, none, 1).zadd(&batches, none, 1);
    let _: () = pipe.query_async(&mut b.conn).await.unwrap();
    let now = b.now().await;
    clock(&mut b, now, now - 1).await;
    let found = tick(&mut b).await;
    assert_eq!(found.suspects, [("old".to_owned(), old)]);
    assert!(found.expired.is_empty() && found.batches.is_empty());
    let key = b.keys().clock();
    b.ask::<()>(&["HSET", &key, "grace_until_ms", "no number"]).await;
    tick(&mut b).await;
    b.ask::<()>(&["HSET", &key, "last_tick_ms", "no number"]).await;
    assert!(tick(&mut b).await.grace_until_ms > now);
}

#[tokio::test]
async fn batches_are_listed_when_it_is_time_to_look_and_strangers_are_skipped() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[1]).await;
    assert!(tick(&mut b).await.batches.is_empty());
    let (batches, id) = (b.keys().batches(), m[0].header.batch);
    b.ask::<()>(&["ZADD", &batches, "1", &id.to_string(), "1", "no id"]).await;
    assert_eq!(tick(&mut b).await.batches, [id]);
}

#[tokio::test]
async fn old_dead_letters_go() {
    let mut b = Bench::start().await;
    let (dead, records, hash) =
        (b.keys().dead(&queue("a")), b.keys().dead_records(&queue("a")), b.keys().queue(&queue("a")));
    let old = (b.now().await - 31 * DAY_MS).to_string();
    for i in 0..150 {
        b.ask::<()>(&["ZADD", &dead, &old, &format!("d{i}")]).await;
        b.ask::<()>(&["HSET", &records, &format!("d{i}"), "x"]).await;
    }
    b.ask::<()>(&["HSET", &hash, "dead_tasks", "150"]).await;
    for left in [50, 0] {
        tick(&mut b).await;
        assert_eq!(b.counters("a").await[4], left);
    }
    let left: u64 = b.ask(&["EXISTS", &dead, &records]).await;
    assert_eq!(left, 0);
}
