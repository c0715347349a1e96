use gristmill_broker::*;
use gristmill_shared::{BatchId, Lane, Message};

use crate::fixture::*;

/// A consumer that holds these messages; nothing is left in the lane.
async fn holding(counts: &[u32]) -> (Bench, Consumer, Vec<Message>) {
    let mut b = Bench::start().await;
    let messages = b.fill("a", Lane::Normal, counts).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.rang("a").await;
    (b, c, messages)
}

fn dropping(at: u64) -> Release {
    Release { from: at, queues: vec![queue("a")], ..Release::default() }
}

fn cut(at: u64, message: &Message, bounds: &[u32]) -> Release {
    let mut parts: Vec<_> = bounds.windows(2).map(|w| part(message, w[0], w[1])).collect();
    Release { started: Some((at, parts.remove(0))), rests: parts, ..dropping(at + 1) }
}

async fn release(b: &mut Bench, c: &mut Consumer, what: &Release) -> Claimed {
    let call = c.next();
    done(b.broker.release(&mut b.conn, &call, what).await.unwrap())
}

#[tokio::test]
async fn the_tail_goes_back_to_the_front_in_order() {
    let (mut b, mut c, m) = holding(&[1, 2, 3]).await;
    let later = b.fill("a", Lane::Normal, &[1]).await;
    b.rang("a").await;
    let answer = release(&mut b, &mut c, &dropping(1)).await;
    assert_eq!((answer.settled, answer.messages.len()), (0, 0));
    assert!(b.rang("a").await);
    assert_eq!(b.counters("a").await, [6, 1, 0, 0, 0]);
    b.audit().await;
    let mut other = b.join().await;
    assert_eq!(parsed(&b.claim(&mut other, &from(&["a"]), LOTS).await), [&m[1..], &later].concat());
    release(&mut b, &mut c, &dropping(0)).await;
    assert_eq!(b.counters("a").await, [1, 6, 0, 0, 0]);
    b.audit().await;
}

#[tokio::test]
async fn a_message_is_cut_and_its_rests_go_before_the_tail() {
    let (mut b, mut c, m) = holding(&[2, 9, 1]).await;
    b.settle(&mut c, &ok(&m[..1])).await;
    release(&mut b, &mut c, &cut(1, &m[1], &[0, 4, 6, 9])).await;
    assert_eq!(b.counters("a").await, [6, 4, 0, 0, 0]);
    b.audit().await;
    let mut other = b.join().await;
    let taken = parsed(&b.claim(&mut other, &from(&["a"]), LOTS).await);
    assert_eq!(taken, [part(&m[1], 4, 6), part(&m[1], 6, 9), m[2].clone()]);
    b.settle(&mut c, &ok(&[part(&m[1], 0, 4)])).await;
    b.settle(&mut other, &ok(&taken)).await;
    assert_eq!(b.record(m[0].header.batch).await.unwrap().state, BatchState::Finished);
    b.audit().await;
}

#[tokio::test]
async fn a_cut_may_leave_the_tail_where_it_is() {
    let (mut b, mut c, m) = holding(&[4, 1, 1]).await;
    let what = Release { from: 2, ..cut(0, &m[0], &[0, 1, 4]) };
    release(&mut b, &mut c, &what).await;
    assert_eq!(b.counters("a").await, [4, 2, 0, 0, 0]);
    b.audit().await;
    b.settle(&mut c, &ok(&[part(&m[0], 0, 1), m[1].clone()])).await;
    b.audit().await;
}

#[tokio::test]
async fn a_lost_reply_is_answered_again() {
    let (mut b, mut c, m) = holding(&[9, 1]).await;
    let what = cut(0, &m[0], &[0, 4, 9]);
    release(&mut b, &mut c, &what).await;
    let before = b.snapshot().await;
    let again = done(b.broker.release(&mut b.conn, &c.call(), &what).await.unwrap());
    assert!(again.replayed);
    assert_eq!(parsed(&again), [part(&m[0], 0, 4)]);
    assert_eq!(b.snapshot().await, before);
    b.audit().await;
}

#[tokio::test]
async fn parts_that_are_not_the_message_are_refused_with_nothing_written() {
    let (mut b, mut c, m) = holding(&[9, 2]).await;
    b.settle(&mut c, &ok(&[])).await;
    let call = c.next();
    let before = b.snapshot().await;
    let piece = |start, end| part(&m[0], start, end);
    let parts = |started: Message, rests: Vec<Message>| Release { started: Some((0, started)), rests, ..dropping(1) };
    let changed = |change: fn(&mut Message)| {
        let mut rest = piece(4, 9);
        change(&mut rest);
        parts(piece(0, 4), vec![rest])
    };
    let wrong = [
        parts(piece(0, 4), vec![]),
        parts(piece(0, 4), vec![piece(4, 8)]),
        parts(piece(0, 4), vec![piece(5, 9)]),
        parts(piece(0, 4), vec![piece(6, 9), piece(4, 6)]),
        parts(piece(0, 4), vec![piece(4, 9), piece(4, 9)]),
        parts(piece(4, 9), vec![piece(0, 4)]),
        changed(|rest| rest.header.batch = BatchId::new()),
        changed(|rest| rest.header.lane = Lane::High),
        changed(|rest| rest.header.attempt = 2),
        changed(|rest| rest.header.crashes = 1),
        changed(|rest| rest.header.expires_at_ms += 1),
        changed(|rest| rest.header.queue = queue("b")),
        Release { started: Some((5, piece(0, 4))), ..cut(0, &m[0], &[0, 4, 9]) },
        Release { from: 0, ..cut(0, &m[0], &[0, 4, 9]) },
        Release { queues: vec![queue("b")], ..cut(0, &m[0], &[0, 4, 9]) },
        Release { queues: vec![], ..dropping(0) },
    ];
    for (i, what) in wrong.iter().enumerate() {
        let answer = b.broker.release(&mut b.conn, &call, what).await;
        assert!(!refused(answer).is_empty());
        assert_eq!(b.snapshot().await, before, "case {i}");
    }
    done(b.broker.release(&mut b.conn, &call, &cut(0, &m[0], &[0, 4, 9])).await.unwrap());
    b.audit().await;
}

#[tokio::test]
async fn what_was_settled_cannot_be_released() {
    let (mut b, mut c, m) = holding(&[1, 1]).await;
    b.settle(&mut c, &ok(&m[..1])).await;
    let before = b.snapshot().await;
    let call = c.next();
    refused(b.broker.release(&mut b.conn, &call, &dropping(0)).await);
    assert_eq!(b.snapshot().await, before);
    let nothing = dropping(9);
    done(b.broker.release(&mut b.conn, &call, &nothing).await.unwrap());
    assert_eq!(b.counters("a").await, [0, 1, 0, 0, 0]);
}

#[tokio::test]
async fn without_a_lease_or_for_a_paused_queue() {
    let (mut b, mut c, _) = holding(&[1, 1]).await;
    b.pause("a").await;
    release(&mut b, &mut c, &dropping(1)).await;
    assert!(!b.rang("a").await);
    b.broker.reclaim(&mut b.conn, c.id, &DeathReport::Ordered, &[]).await.unwrap();
    let before = b.snapshot().await;
    assert_eq!(b.broker.release(&mut b.conn, &c.next(), &dropping(0)).await.unwrap(), Claim::LeaseLost);
    assert_eq!(b.snapshot().await, before);
    b.audit().await;
}

#[tokio::test]
async fn what_a_foreign_hand_put_in_flight_is_no_reason_to_lose_the_rest() {
    let (mut b, mut c, m) = holding(&[4, 1]).await;
    let inflight = b.keys().inflight(c.id);
    b.ask::<()>(&["LSET", &inflight, "1", "rubbish"]).await;
    let before = b.snapshot().await;
    let call = c.next();
    for what in [dropping(0), dropping(1), cut(1, &m[0], &[0, 1, 4]), cut(0, &m[0], &[0, 1, 4])] {
        refused(b.broker.release(&mut b.conn, &call, &what).await);
        assert_eq!(b.snapshot().await, before);
    }
}
