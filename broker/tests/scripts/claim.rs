use gristmill_broker::*;
use gristmill_shared::dead_letter::DeadLetter;
use gristmill_shared::{BatchId, KernelName, Lane, Message};

use crate::fixture::*;

fn firsts(claimed: &Claimed) -> Vec<(String, Lane, u64)> {
    let of = |m: Message| (m.header.queue.to_string(), m.header.lane, m.header.first);
    parsed(claimed).into_iter().map(of).collect()
}

#[tokio::test]
async fn lanes_are_emptied_strictly_in_order_and_queues_left_before_right() {
    let mut b = Bench::start().await;
    for queue in ["b", "a"] {
        for lane in [Lane::Low, Lane::Normal, Lane::High] {
            b.fill(queue, lane, &[1, 1]).await;
        }
    }
    let mut c = b.join().await;
    let mut order = Vec::new();
    for budget in [1, 4, 100] {
        order.extend(firsts(&b.claim(&mut c, &from(&["a", "b"]), take(budget)).await));
        b.audit().await;
    }
    let expected: Vec<_> = ["a", "b"]
        .iter()
        .flat_map(|q| Lane::ALL.map(|lane| [0, 1].map(|first| (q.to_string(), lane, first))))
        .flatten()
        .collect();
    assert_eq!(order, expected);
    assert_eq!(b.counters("a").await, [0, 6, 0, 0, 0]);
}

#[tokio::test]
async fn a_budget_stops_at_the_first_message_that_does_not_fit_but_always_takes_one() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::High, &[50, 60, 1]).await;
    b.fill("a", Lane::Low, &[1]).await;
    let mut c = b.join().await;
    let tasks = |tasks| Budget { tasks, ..LOTS };
    let sources = from(&["a"]);
    assert_eq!(b.claim(&mut c, &sources, tasks(1)).await.messages.len(), 1, "50 > 1, but it is the first");
    assert_eq!(b.claim(&mut c, &sources, Budget { bytes: 1, ..LOTS }).await.messages.len(), 1);
    assert!(b.claim(&mut c, &sources, Budget::NONE).await.messages.is_empty());
    let rest = b.claim(&mut c, &sources, tasks(2)).await;
    assert_eq!((rest.settled, rest.base, rest.messages.len()), (0, 2, 2));
    assert_eq!(b.counters("a").await, [0, 112, 0, 0, 0]);

    let big = b.fill("a", Lane::High, &[2, 9]).await;
    b.fill("a", Lane::Low, &[1]).await;
    let some = b.claim(&mut c, &sources, tasks(5)).await;
    assert_eq!(parsed(&some), big[..1], "the lower lane must not overtake what did not fit");
    b.audit().await;
}

#[tokio::test]
async fn a_consumer_holds_at_most_256_messages() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[1; 300]).await;
    let mut c = b.join().await;
    let all = Budget { messages: 1000, ..LOTS };
    assert_eq!(b.claim(&mut c, &from(&["a"]), all).await.messages.len(), 256);
    assert!(b.claim(&mut c, &from(&["a"]), all).await.messages.is_empty());
    b.audit().await;
}

#[tokio::test]
async fn a_repeated_call_changes_nothing_and_lists_everything_unsettled() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[1, 1, 1]).await;
    let (mut c, sources) = (b.join().await, from(&["a"]));
    let one = b.claim(&mut c, &sources, take(1)).await;
    let two = b.claim(&mut c, &sources, take(1)).await;
    let before = b.snapshot().await;
    let again = done(b.broker.claim(&mut b.conn, &c.call(), &sources, take(1)).await.unwrap());
    assert!(again.replayed && !two.replayed);
    assert_eq!((again.settled, again.base), (0, 0));
    assert_eq!(again.messages, [one.messages, two.messages].concat());
    assert_eq!(b.snapshot().await, before);
}

#[tokio::test]
async fn an_op_out_of_order_or_without_a_lease_is_lost() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[1]).await;
    let c = b.join().await;
    let before = b.snapshot().await;
    for op in [2, 9] {
        let call = Consumer { op, ..c }.call();
        let answer = b.broker.claim(&mut b.conn, &call, &from(&["a"]), LOTS).await.unwrap();
        assert_eq!(answer, Claim::LeaseLost);
    }
    let stranger = Consumer { id: gristmill_shared::ConsumerId::new(), op: 1 };
    let answer = b.broker.claim(&mut b.conn, &stranger.call(), &from(&["a"]), LOTS).await.unwrap();
    assert_eq!(answer, Claim::LeaseLost);
    assert_eq!(b.snapshot().await, before);
}

#[tokio::test]
async fn an_expired_lease_that_nobody_reclaimed_is_renewed() {
    let mut b = Bench::start().await;
    let mut c = b.join().await;
    b.expire(c.id).await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    let now = b.now().await;
    assert!(b.deadline(c.id).await.unwrap() > now + 9_000);
}

#[tokio::test]
async fn a_paused_queue_is_skipped_and_does_not_ring() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[1, 1]).await;
    b.fill("b", Lane::Normal, &[1, 1]).await;
    b.rang("a").await;
    b.pause("a").await;
    let mut c = b.join().await;
    let claimed = b.claim(&mut c, &from(&["a", "b"]), LOTS).await;
    assert_eq!(firsts(&claimed).len(), 2);
    assert!(firsts(&claimed).iter().all(|(queue, ..)| queue == "b"));
    assert!(!b.rang("a").await);
    b.audit().await;
}

#[tokio::test]
async fn who_leaves_something_behind_rings_again() {
    let mut b = Bench::start().await;
    b.fill("a", Lane::Normal, &[1, 1]).await;
    b.fill("a", Lane::Low, &[1]).await;
    assert!(b.rang("a").await);
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), take(1)).await;
    assert!(b.rang("a").await);
    b.claim(&mut c, &from(&["a"]), take(1)).await;
    assert!(b.rang("a").await, "another lane is not empty");
    b.claim(&mut c, &from(&["a"]), take(1)).await;
    assert!(!b.rang("a").await);
}

#[tokio::test]
async fn cancelled_and_expired_messages_come_flagged() {
    let mut b = Bench::start().await;
    let whole = b.fill("a", Lane::Normal, &[1]).await;
    let some = b.fill("a", Lane::Normal, &[4]).await;
    let mut late = message(BatchId::new(), "a", Lane::Normal, 0, 1);
    late.header.expires_at_ms = b.now().await - 1;
    b.put(std::slice::from_ref(&late), true).await;
    b.fill("a", Lane::Normal, &[1]).await;
    let batch = some[0].header.batch;
    assert_eq!(b.broker.cancel(&mut b.conn, whole[0].header.batch, None).await.unwrap(), Cancelled::Done);
    b.broker.cancel(&mut b.conn, batch, Some(&[1, 3])).await.unwrap();
    let mut c = b.join().await;
    let claimed = b.claim(&mut c, &from(&["a"]), LOTS).await;
    let expected = [ClaimFlag::Cancelled, ClaimFlag::SomeCancelled(vec![1, 3]), ClaimFlag::Expired, ClaimFlag::None];
    assert_eq!(flags(&claimed), expected);

    b.broker.cancel(&mut b.conn, batch, None).await.unwrap();
    b.broker.cancel(&mut b.conn, late.header.batch, Some(&[0])).await.unwrap();
    let again = done(b.broker.claim(&mut b.conn, &c.call(), &from(&["a"]), LOTS).await.unwrap());
    let expected = [ClaimFlag::Cancelled, ClaimFlag::Cancelled, ClaimFlag::Expired, ClaimFlag::None];
    assert_eq!(flags(&again), expected, "flags are computed anew");
}

#[tokio::test]
async fn what_has_no_readable_header_becomes_a_dead_letter() {
    let mut b = Bench::start().await;
    let lane = b.keys().ready(&queue("a"), Lane::Normal);
    for i in 0..100 {
        b.ask::<()>(&["RPUSH", &lane, &format!("rubbish {}", i % 70)]).await;
    }
    let good = b.fill("a", Lane::Normal, &[2]).await;
    let mut c = b.join().await;
    let first = b.claim(&mut c, &from(&["a"]), LOTS).await;
    assert!(first.messages.is_empty(), "a lane full of rubbish must not block Redis");
    assert!(b.rang("a").await);
    let second = b.claim(&mut c, &from(&["a"]), LOTS).await;
    assert_eq!(parsed(&second), good);
    assert_eq!(b.counters("a").await, [0, 2, 0, 0, 70], "equal rubbish is one letter");
    let records = b.keys().dead_records(&queue("a"));
    let letters: Vec<Vec<u8>> = b.ask(&["HVALS", &records]).await;
    let letter = DeadLetter::parse(&letters[0]).unwrap();
    assert_eq!(letter.epitaph.reason, "unreadable");
    assert!(letter.message.starts_with(b"rubbish"));
    b.audit().await;
}

#[tokio::test]
async fn what_stands_in_a_list_of_another_queue_is_buried_there_and_no_counter_drifts() {
    let mut b = Bench::start().await;
    let (batch, hash) = (BatchId::new(), b.keys().queue(&queue("b")));
    let stray = message(batch, "b", Lane::Normal, 0, 3).encode().unwrap();
    let list = ParkedList::Kernel(KernelName::new("square").unwrap());
    let parked = b.keys().parked_kernel(&queue("a"), &KernelName::new("square").unwrap());
    let (lane, scheduled) = (b.keys().ready(&queue("a"), Lane::Normal), b.keys().scheduled(&queue("a")));
    let other = message(batch, "b", Lane::High, 3, 2).encode().unwrap();
    let third = message(batch, "b", Lane::High, 5, 2).encode().unwrap();
    let mut pipe = redis::pipe();
    pipe.rpush(&lane, &stray).rpush(&parked, &other).zadd(&scheduled, &third, 1);
    let _: () = pipe.query_async(&mut b.conn).await.unwrap();
    let good = b.fill("a", Lane::Low, &[1]).await;
    assert_eq!(b.broker.promote(&mut b.conn, &queue("a")).await.unwrap(), 1);
    let mut c = b.join().await;
    let sources = Sources { parked: vec![Parked { queue: queue("a"), list }], ..from(&["a", "b"]) };
    assert_eq!(parsed(&b.claim(&mut c, &sources, LOTS).await), good);
    assert_eq!(b.counters("a").await, [0, 1, 0, 0, 3]);
    assert_eq!(b.ask::<u64>(&["EXISTS", &hash]).await, 0, "nothing was counted for the other queue");
    b.audit().await;
}

#[tokio::test]
async fn parked_lists_are_further_lanes() {
    let mut b = Bench::start().await;
    let parked = b.fill("a", Lane::High, &[2]).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    let list = ParkedList::Kernel(KernelName::new("square").unwrap());
    let replacements = vec![back(&parked[0], Destination::Parked(list.clone()))];
    b.settle(&mut c, &settlement(&parked, Ending { replacements, ..Ending::default() })).await;
    assert_eq!(b.counters("a").await, [0, 0, 0, 2, 0]);
    assert!(!b.rang("a").await || b.counters("a").await[0] == 0);
    b.audit().await;

    let ready = b.fill("a", Lane::Low, &[1]).await;
    let sources = Sources { parked: vec![Parked { queue: queue("a"), list }], ..from(&["a"]) };
    b.pause("a").await;
    assert!(b.claim(&mut c, &sources, LOTS).await.messages.is_empty(), "pause applies");
    let paused = b.keys().paused();
    b.ask::<()>(&["DEL", &paused]).await;
    let claimed = b.claim(&mut c, &sources, LOTS).await;
    assert_eq!(parsed(&claimed), [ready, parked].concat());
    assert_eq!(b.counters("a").await, [0, 3, 0, 0, 0]);
    b.audit().await;
    let stray = Sources { parked: vec![Parked { queue: queue("z"), list: ParkedList::Version(9) }], ..from(&["a"]) };
    refused(b.broker.claim(&mut b.conn, &c.next(), &stray, LOTS).await);
}
