use gristmill_broker::*;
use gristmill_shared::outcome::decode_run;
use gristmill_shared::{BatchId, KernelName, Lane, Message, Outcome, OutcomeKind};

use crate::fixture::*;

/// A consumer that holds messages of these counts, all of one batch.
async fn holding(counts: &[u32]) -> (Bench, Consumer, Vec<Message>) {
    let mut b = Bench::start().await;
    let messages = b.fill("a", Lane::Normal, counts).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), take(counts.len())).await;
    b.rang("a").await;
    (b, c, messages)
}

fn value() -> Outcome {
    Outcome::Value(vec![7])
}

#[tokio::test]
async fn outcomes_are_recorded_counted_and_finish_the_batch() {
    let (mut b, mut c, m) = holding(&[2, 3]).await;
    let batch = m[0].header.batch;
    let head = b.settle(&mut c, &ok(&m[..1])).await;
    assert_eq!((head.settled, head.base, head.messages.len()), (1, 2, 0));
    assert_eq!(b.counters("a").await, [0, 3, 0, 0, 0]);
    assert_eq!(b.record(batch).await.unwrap().state, BatchState::Sealed);
    b.audit().await;
    let mixed =
        Ending { runs: vec![run(&m[1], vec![value(), bad(OutcomeKind::Expired), value()])], ..Ending::default() };
    b.settle(&mut c, &settlement(&m[1..], mixed)).await;
    let record = b.record(batch).await.unwrap();
    assert_eq!((record.state, record.ended()), (BatchState::Finished, 5));
    assert_eq!((record.count(OutcomeKind::Succeeded), record.count(OutcomeKind::Expired)), (4, 1));
    let (bucket, runs) = (b.keys().results(batch, 0), b.keys().runs(batch));
    let run: Vec<u8> = b.ask(&["HGET", &bucket, "2"]).await;
    assert_eq!(decode_run(&run).unwrap()[0], value());
    assert_eq!(b.ask::<Vec<String>>(&["LRANGE", &runs, "0", "-1"]).await, ["0 2", "2 3"]);
    let stats = b.broker.queue_stats(&mut b.conn, &queue("a")).await.unwrap();
    assert_eq!((stats.totals["succeeded"], stats.totals["expired"]), (4, 1));
    b.audit().await;
}

#[tokio::test]
async fn a_lost_reply_is_answered_again_and_nothing_is_counted_twice() {
    let (mut b, mut c, m) = holding(&[1, 1, 1, 1]).await;
    let next = b.fill("a", Lane::Normal, &[1]).await;
    let (call, what, sources) = (c.next(), ok(&m[..2]), from(&["a"]));
    let first = done(b.broker.settle(&mut b.conn, &call, &what, &sources, LOTS).await.unwrap());
    assert_eq!((first.settled, first.base, parsed(&first)), (2, 4, next.clone()));
    let before = b.snapshot().await;
    let again = done(b.broker.settle(&mut b.conn, &call, &what, &sources, LOTS).await.unwrap());
    assert!(again.replayed);
    assert_eq!((again.settled, again.base, parsed(&again)), (2, 2, [&m[2..], &next].concat()));
    assert_eq!(b.snapshot().await, before);
    b.audit().await;
}

#[tokio::test]
async fn every_kind_of_end_in_one_call() {
    let (mut b, mut c, m) = holding(&[6]).await;
    let now = b.now().await;
    let piece = |i: u32| part(&m[0], i, i + 1);
    let parked = Destination::Parked(ParkedList::Kernel(KernelName::new("square").unwrap()));
    let ending = Ending {
        runs: vec![run(&piece(0), vec![value()]), run(&piece(1), vec![bad(OutcomeKind::Failed)])],
        dead: vec![letter(&piece(1), OutcomeKind::Failed)],
        replacements: vec![
            back(&piece(2), Destination::Scheduled { due_at_ms: now + 60_000 }),
            back(&piece(3), parked),
            back(&piece(4), Destination::Front),
            back(&piece(5), Destination::Back),
        ],
    };
    let waiting = b.fill("a", Lane::Normal, &[1]).await;
    b.rang("a").await;
    b.settle(&mut c, &settlement(&m, ending)).await;
    assert_eq!(b.counters("a").await, [3, 0, 1, 1, 1]);
    assert!(b.rang("a").await);
    b.audit().await;
    let order = parsed(&b.claim(&mut c, &from(&["a"]), LOTS).await);
    assert_eq!(order, [piece(4), waiting[0].clone(), piece(5)]);
    let list = b.keys().parked_kernel(&queue("a"), &KernelName::new("square").unwrap());
    let (ttl, life) = (b.ask::<u64>(&["PTTL", &list]).await, LATE - b.now().await);
    assert!(ttl > life + 2 * DAY_MS - 10_000, "it outlives the batch, which goes a day after the expiry: {ttl}");
    assert!(ttl < life + 3 * DAY_MS, "a parked list does not stay for ever: {ttl}");
    b.audit().await;
}

#[tokio::test]
async fn what_does_not_cover_the_messages_is_refused_with_nothing_written() {
    let (mut b, mut c, m) = holding(&[4, 2, 2]).await;
    let batch = m[0].header.batch;
    let call = c.next();
    let before = b.snapshot().await;
    let stray = |first, n: usize| Run { batch, single: false, first, outcomes: vec![value(); n], times: vec![] };
    let runs = |runs: Vec<Run>| settlement(&m[..1], Ending { runs, ..Ending::default() });
    let again =
        |message: Message| Ending { replacements: vec![back(&message, Destination::Front)], ..Ending::default() };
    let mut wrong = vec![
        runs(vec![]),
        runs(vec![stray(0, 3)]),
        runs(vec![stray(0, 5)]),
        runs(vec![stray(4, 4)]),
        runs(vec![stray(0, 2), stray(1, 2)]),
        runs(vec![stray(0, 2), stray(0, 2)]),
        runs(vec![stray(100, 4)]),
        runs(vec![Run { single: true, ..stray(0, 4) }]),
        runs(vec![stray(0, 4), Run { batch: BatchId::new(), ..stray(0, 1) }]),
        settlement(&m[..1], again(part(&m[0], 0, 3))),
        settlement(&m[..1], again(message(BatchId::new(), "a", Lane::Normal, 0, 4))),
        settlement(&m[..1], again(message(batch, "a", Lane::Normal, 8, 4))),
        ok(&m[1..2]),
    ];
    wrong.push(settlement(&[&m[..], &m[..1]].concat(), ok(&m).ending));
    wrong.push(Settlement { take: vec![(batch, queue("b"))], ..ok(&m[..1]) });
    for (i, what) in wrong.iter().enumerate() {
        assert!(b.try_settle(&call, what).await.is_err(), "case {i} was taken");
        assert_eq!(b.snapshot().await, before, "case {i}");
    }
    done(b.try_settle(&call, &ok(&m)).await.unwrap());
    assert_eq!(b.record(batch).await.unwrap().state, BatchState::Finished);
    b.audit().await;
}

#[tokio::test]
async fn after_a_reclaim_nothing_is_recorded() {
    let (mut b, mut c, m) = holding(&[2]).await;
    b.broker.reclaim(&mut b.conn, c.id, &DeathReport::Ordered, &[queue("a")]).await.unwrap();
    let before = b.snapshot().await;
    assert_eq!(b.try_settle(&c.next(), &ok(&m)).await.unwrap(), Claim::LeaseLost);
    assert_eq!(b.snapshot().await, before);
    b.audit().await;
}

#[tokio::test]
async fn a_batch_that_is_gone_is_not_created_again() {
    let (mut b, mut c, m) = holding(&[2, 1]).await;
    let key = b.keys().batch(m[0].header.batch);
    b.ask::<()>(&["DEL", &key]).await;
    let mut what = ok(&m[..1]);
    what.take.push((m[1].header.batch, queue("a")));
    what.ending.replacements.push(back(&m[1], Destination::Back));
    b.settle(&mut c, &what).await;
    assert!(b.record(m[0].header.batch).await.is_none());
    let hash = b.keys().queue(&queue("a"));
    assert_eq!(b.ask::<u64>(&["HGET", &hash, "orphaned"]).await, 2);
    assert_eq!(b.counters("a").await, [1, 0, 0, 0, 0]);
    let left: Vec<String> = b.ask(&["KEYS", "{gm}:r*:*-*"]).await;
    assert_eq!(left, [""; 0], "neither results nor runs");
}

#[tokio::test]
async fn a_batch_of_one_holds_its_outcome_and_expires() {
    let mut b = Bench::start().await;
    let one = b.fill_one("a").await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    let key = b.keys().batch(one.header.batch);
    b.settle(&mut c, &ok(std::slice::from_ref(&one))).await;
    let outcome: Vec<u8> = b.ask(&["HGET", &key, "outcome"]).await;
    assert_eq!(decode_run(&outcome).unwrap(), [value()]);
    let ttl = b.ask::<u64>(&["PTTL", &key]).await;
    assert!((DAY_MS - 5_000..=DAY_MS).contains(&ttl), "the result ttl counts from the end: {ttl}");
    assert_eq!(b.record(one.header.batch).await.unwrap().state, BatchState::Finished);
    b.audit().await;
}

#[tokio::test]
async fn a_chunk_of_which_every_task_failed_is_settled_whole() {
    let (mut b, mut c, m) = holding(&[4096, 4096]).await;
    let batch = m[0].header.batch;
    let pieces: Vec<_> = (0..8192).map(|i| message(batch, "a", Lane::Normal, i, 1)).collect();
    let kind = OutcomeKind::Failed;
    let runs = pieces.iter().map(|piece| run(piece, vec![bad(kind)])).collect();
    let dead = pieces.iter().map(|piece| letter(piece, kind)).collect();
    b.settle(&mut c, &settlement(&m, Ending { runs, dead, ..Ending::default() })).await;
    let record = b.record(m[0].header.batch).await.unwrap();
    assert_eq!((record.state, record.count(kind)), (BatchState::Finished, 8192));
    assert_eq!(b.counters("a").await, [0, 0, 0, 0, 8192]);
    b.audit().await;
}

#[tokio::test]
async fn runs_go_to_the_bucket_of_their_first_index() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[4096, 4000, 4096]).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &ok(&m)).await;
    let batch = m[0].header.batch;
    for (bucket, expected) in [(0, 3), (1, 0)] {
        let key = b.keys().results(batch, bucket);
        assert_eq!(b.ask::<u64>(&["HLEN", &key]).await, expected);
    }
    b.audit().await;
}

#[tokio::test]
async fn dead_letters_are_capped_by_age_and_by_number() {
    let (mut b, mut c, m) = holding(&[1, 1]).await;
    let dead = b.keys().dead(&queue("a"));
    let records = b.keys().dead_records(&queue("a"));
    let hash = b.keys().queue(&queue("a"));
    let old = b.now().await - 31 * DAY_MS;
    b.ask::<()>(&["ZADD", &dead, &old.to_string(), "old"]).await;
    b.ask::<()>(&["HSET", &records, "old", "x"]).await;
    b.ask::<()>(&["HSET", &hash, "dead_tasks", "1"]).await;
    b.settle(&mut c, &failed(&m[0])).await;
    assert_eq!(b.counters("a").await, [0, 1, 0, 0, 1]);
    b.audit().await;

    let now = b.now().await;
    let fill = "for i = 1, 10000 do redis.call('ZADD', KEYS[1], ARGV[1] - i, 'd' .. i) redis.call('HSET', KEYS[2], 'd' .. i, 'x') end
        redis.call('HSET', KEYS[3], 'dead_tasks', 10001)";
    b.ask::<()>(&["EVAL", fill, "3", &dead, &records, &hash, &now.to_string()]).await;
    b.settle(&mut c, &failed(&m[1])).await;
    assert_eq!(b.counters("a").await[4], 10_000);
    assert!(!b.ask::<bool>(&["HEXISTS", &records, "d10000"]).await, "the oldest go first");
    b.audit().await;
}

#[tokio::test]
async fn the_settled_are_told_of_and_the_paused_do_not_ring() {
    let (mut b, mut c, m) = holding(&[1, 1]).await;
    b.pause("a").await;
    let ending = Ending { replacements: vec![back(&m[0], Destination::Back)], ..Ending::default() };
    b.settle(&mut c, &settlement(&m[..1], ending)).await;
    assert!(!b.rang("a").await);
    let mut listener = b.listen(m[1].header.batch).await;
    let ending = Ending { replacements: vec![back(&m[1], Destination::Front)], ..Ending::default() };
    b.settle(&mut c, &settlement(&m[1..], ending)).await;
    let paused = b.keys().paused();
    b.ask::<()>(&["DEL", &paused]).await;
    let order = parsed(&b.claim(&mut c, &from(&["a"]), LOTS).await);
    assert_eq!(order, [m[1].clone(), m[0].clone()]);
    b.settle(&mut c, &ok(&order)).await;
    assert_eq!([listener.next(), listener.next()], [b"s".to_vec(), b"f".to_vec()]);
}
