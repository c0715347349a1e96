use gristmill_broker::*;
use gristmill_shared::dead_letter::DeadLetter;
use gristmill_shared::message::{BlobRef, FLAG_BLOB};
use gristmill_shared::{BatchId, Body, Lane, Message, OutcomeKind, TaskOptions, defaults};

use crate::fixture::*;

async fn letter_of(b: &mut Bench, message: &Message) -> DeadLetter {
    let records = b.keys().dead_records(&message.header.queue);
    let task = message.task(0).to_string();
    DeadLetter::parse(&b.ask::<Vec<u8>>(&["HGET", &records, &task]).await).unwrap()
}

pub async fn revive(b: &mut Bench, message: &Message) -> Revived {
    let letter = letter_of(b, message).await;
    b.broker.revive(&mut b.conn, message.task(0), &letter).await.unwrap()
}

/// Claims and buries everything that is ready.
pub async fn bury(b: &mut Bench, c: &mut Consumer) {
    for message in parsed(&b.claim(c, &from(&["a"]), LOTS).await) {
        b.settle(c, &failed(&message)).await;
    }
}

async fn succeed(b: &mut Bench, c: &mut Consumer) {
    let messages = parsed(&b.claim(c, &from(&["a"]), LOTS).await);
    b.settle(c, &ok(&messages)).await;
}

/// Failed and succeeded tasks, total, and state of a batch.
async fn shape(b: &mut Bench, batch: BatchId) -> (u64, u64, Option<u64>, BatchState) {
    let r = b.record(batch).await.unwrap();
    (r.count(OutcomeKind::Failed), r.count(OutcomeKind::Succeeded), r.total, r.state)
}

#[tokio::test]
async fn a_task_of_a_finished_batch_runs_again_and_the_batch_does_not_finish_twice() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::High, &[1, 1]).await;
    let (mut c, batch) = (b.join().await, m[0].header.batch);
    bury(&mut b, &mut c).await;
    let letter = letter_of(&mut b, &m[1]).await;
    assert_eq!(shape(&mut b, batch).await, (2, 0, Some(2), BatchState::Finished));
    b.rang("a").await;
    let mut listener = b.listen(batch).await;
    assert_eq!(revive(&mut b, &m[1]).await, Revived::Done);
    assert!(b.rang("a").await);
    assert_eq!(shape(&mut b, batch).await, (1, 0, Some(2), BatchState::Finished));
    assert_eq!(b.counters("a").await, [1, 0, 0, 0, 1]);
    b.audit().await;
    let before = b.snapshot().await;
    let again = b.broker.revive(&mut b.conn, m[1].task(0), &letter).await.unwrap();
    assert_eq!(again, Revived::Gone);
    assert_eq!(b.snapshot().await, before);
    succeed(&mut b, &mut c).await;
    assert_eq!(shape(&mut b, batch).await, (1, 1, Some(2), BatchState::Finished));
    b.broker.cancel(&mut b.conn, batch, None).await.unwrap();
    b.ask::<()>(&["PUBLISH", &format!("{{gm}}:done:{batch}"), "end"]).await;
    assert_eq!([listener.next(), listener.next()], [b"s".to_vec(), b"end".to_vec()], "no second end");
    b.audit().await;
}

#[tokio::test]
async fn attempt_charges_and_expiry_begin_anew() {
    let mut b = Bench::start().await;
    let mut m = single(BatchId::new(), "a");
    (m.header.attempt, m.header.crashes, m.header.losses) = (3, 2, 5);
    m.header.expires_at_ms = b.now().await + 60_000;
    b.put(std::slice::from_ref(&m), true).await;
    let mut c = b.join().await;
    bury(&mut b, &mut c).await;
    assert_eq!(revive(&mut b, &m).await, Revived::Done);
    let header = parsed(&b.claim(&mut c, &from(&["a"]), LOTS).await)[0].header.clone();
    assert_eq!((header.attempt, header.crashes, header.losses), (1, 0, 0));
    assert!(header.expires_at_ms > m.header.expires_at_ms + 6 * DAY_MS);
    let key = b.keys().batch(m.header.batch);
    assert!(b.ask::<u64>(&["PTTL", &key]).await > 7 * DAY_MS, "the batch outlives the message");
    b.audit().await;
}

#[tokio::test]
async fn an_unfinished_batch_waits_for_what_was_revived() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[1, 1]).await;
    let (mut c, batch) = (b.join().await, m[0].header.batch);
    b.claim(&mut c, &from(&["a"]), take(1)).await;
    b.settle(&mut c, &failed(&m[0])).await;
    revive(&mut b, &m[0]).await;
    assert_eq!(shape(&mut b, batch).await, (0, 0, Some(2), BatchState::Sealed));
    succeed(&mut b, &mut c).await;
    assert_eq!(shape(&mut b, batch).await, (0, 2, Some(2), BatchState::Finished));
    b.audit().await;
}

#[tokio::test]
async fn the_look_at_an_open_batch_is_not_put_off() {
    let mut b = Bench::start().await;
    let m = message(BatchId::new(), "a", Lane::Normal, 0, 1);
    b.put(std::slice::from_ref(&m), false).await;
    let mut c = b.join().await;
    bury(&mut b, &mut c).await;
    let batches = b.keys().batches();
    let look = ["ZSCORE", &batches, &m.header.batch.to_string()].map(str::to_owned);
    let look: Vec<&str> = look.iter().map(String::as_str).collect();
    let before: u64 = b.ask(&look).await;
    revive(&mut b, &m).await;
    assert_eq!(b.ask::<u64>(&look).await, before);
    b.audit().await;
}

#[tokio::test]
async fn a_batch_that_is_gone_comes_back_with_what_was_revived() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[1, 1, 1]).await;
    let (mut c, batch) = (b.join().await, m[0].header.batch);
    bury(&mut b, &mut c).await;
    b.set(batch, "finished_at_ms", 1).await;
    b.set(batch, "touched_at_ms", 1).await;
    assert_eq!(b.broker.sweep(&mut b.conn, batch).await.unwrap(), Swept::Gone);
    assert_eq!(revive(&mut b, &m[1]).await, Revived::Done);
    assert_eq!(shape(&mut b, batch).await, (0, 0, Some(1), BatchState::Sealed));
    assert_eq!(revive(&mut b, &m[2]).await, Revived::Done);
    assert_eq!(shape(&mut b, batch).await, (0, 0, Some(2), BatchState::Sealed));
    bury(&mut b, &mut c).await;
    assert_eq!(shape(&mut b, batch).await, (2, 0, Some(2), BatchState::Finished));
    revive(&mut b, &m[2]).await;
    assert_eq!(shape(&mut b, batch).await, (1, 0, Some(2), BatchState::Finished), "its count is turned back");
    revive(&mut b, &m[0]).await;
    assert_eq!(shape(&mut b, batch).await, (1, 0, Some(3), BatchState::Finished), "this one was never counted here");
    succeed(&mut b, &mut c).await;
    assert_eq!(shape(&mut b, batch).await, (1, 2, Some(3), BatchState::Finished));
    assert_eq!(b.counters("a").await, [0, 0, 0, 0, 1]);
    b.audit().await;
}

#[tokio::test]
async fn a_straggler_of_a_batch_that_came_back_can_be_settled() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[1, 1]).await;
    let (mut c, key) = (b.join().await, b.keys().batch(m[0].header.batch));
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    b.settle(&mut c, &failed(&m[0])).await;
    b.ask::<()>(&["DEL", &key]).await;
    revive(&mut b, &m[0]).await;
    b.settle(&mut c, &ok(&m[1..])).await;
    assert_eq!(b.counters("a").await, [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn without_its_blob_a_task_stays_dead() {
    let mut b = Bench::start().await;
    let blob = BlobRef { name: "a0".into(), bytes: 3 };
    let mut m = single(BatchId::new(), "a");
    m.header.flags |= FLAG_BLOB;
    let body = Body {
        kernel: "square".into(),
        args: vec![],
        blob: Some(blob.clone()),
        options: TaskOptions::default(),
        ..Body::default()
    };
    let m = Message::new(m.header, &body).unwrap();
    b.broker.put_blob(&mut b.conn, m.header.batch, "a0", b"abc", LEASE).await.unwrap();
    b.put(std::slice::from_ref(&m), true).await;
    let mut c = b.join().await;
    bury(&mut b, &mut c).await;
    let key = b.broker.blob_keys(m.header.batch, &blob).remove(0);
    b.ask::<()>(&["RENAME", &key, "away"]).await;
    let before = b.snapshot().await;
    assert_eq!(revive(&mut b, &m).await, Revived::BlobGone);
    assert_eq!(b.snapshot().await, before);
    b.ask::<()>(&["RENAME", "away", &key]).await;
    assert_eq!(revive(&mut b, &m).await, Revived::Done);
    assert!(b.ask::<u64>(&["PTTL", &key]).await > 8 * DAY_MS);
    b.audit().await;
}

#[tokio::test]
async fn what_is_no_task_can_only_be_looked_at() {
    let mut b = Bench::start().await;
    let lane = b.keys().ready(&queue("a"), Lane::Normal);
    b.ask::<()>(&["RPUSH", &lane, "rubbish"]).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    let records = b.keys().dead_records(&queue("a"));
    let stored: Vec<Vec<u8>> = b.ask(&["HVALS", &records]).await;
    let letter = DeadLetter::parse(&stored[0]).unwrap();
    let task = BatchId::new().task(0);
    assert_eq!(b.broker.revive(&mut b.conn, task, &letter).await.unwrap(), Revived::Unreadable);
}

#[tokio::test]
async fn what_is_too_short_for_a_letter_is_left_alone() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::High, &[1]).await;
    let mut c = b.join().await;
    bury(&mut b, &mut c).await;
    let letter = letter_of(&mut b, &m[0]).await;
    let records = b.keys().dead_records(&queue("a"));
    for rubbish in ["", "x", "1234567"] {
        b.ask::<()>(&["HSET", &records, &m[0].task(0).to_string(), rubbish]).await;
        let before = b.snapshot().await;
        assert_eq!(b.broker.revive(&mut b.conn, m[0].task(0), &letter).await.unwrap(), Revived::Gone);
        assert_eq!(b.snapshot().await, before);
    }
}

/// How the task ended before it was revived, as its message in the lane tells.
async fn history_of(b: &mut Bench, message: &Message) -> Vec<(String, u64)> {
    let letter = letter_of(b, message).await;
    let body = letter.message().unwrap().read_body().unwrap();
    body.history.into_iter().map(|end| (end.message, end.at_ms)).collect()
}

#[tokio::test]
async fn earlier_ends_are_remembered() {
    let mut b = Bench::start().await;
    let m = b.fill_one("a").await;
    let mut c = b.join().await;
    bury(&mut b, &mut c).await;
    let mut expected = Vec::new();
    for round in 1..=defaults::HISTORY_MAX + 2 {
        let letter = letter_of(&mut b, &m).await;
        expected.push((letter.epitaph.failure.unwrap().message, letter.at_ms));
        assert_eq!(revive(&mut b, &m).await, Revived::Done);
        bury(&mut b, &mut c).await;
        let oldest = expected.len().saturating_sub(defaults::HISTORY_MAX);
        assert_eq!(history_of(&mut b, &m).await, expected[oldest..], "round {round}");
    }
    b.audit().await;
}

#[tokio::test]
async fn what_is_remembered_never_makes_a_message_too_large() {
    let mut b = Bench::start().await;
    let mut m = single(BatchId::new(), "a");
    let mut body = m.read_body().unwrap();
    body.args = vec![vec![0; defaults::MESSAGE_BYTES_MAX - 300].into()];
    m = Message::new(m.header, &body).unwrap();
    b.put(std::slice::from_ref(&m), true).await;
    let mut c = b.join().await;
    for _ in 0..8 {
        bury(&mut b, &mut c).await;
        assert_eq!(revive(&mut b, &m).await, Revived::Done);
    }
    bury(&mut b, &mut c).await;
    let left = history_of(&mut b, &m).await.len();
    assert!((1..8).contains(&left), "{left} earlier ends fit");
    b.audit().await;
}

#[tokio::test]
async fn a_cancelled_task_that_is_revived_runs() {
    let mut b = Bench::start().await;
    let m = b.fill("a", Lane::Normal, &[1, 1, 1]).await;
    let (mut c, batch) = (b.join().await, m[0].header.batch);
    b.claim(&mut c, &from(&["a"]), take(1)).await;
    b.broker.cancel(&mut b.conn, batch, Some(&[0, 2])).await.unwrap();
    b.settle(&mut c, &failed(&m[0])).await;
    assert_eq!(revive(&mut b, &m[0]).await, Revived::Done);
    let mark = b.broker.cancelled(&mut b.conn, &[batch]).await.unwrap().remove(0);
    assert_eq!(mark, CancelMark::Tasks(vec![2]), "the other stays cancelled");
    b.audit().await;
}

#[tokio::test]
async fn a_mark_of_the_whole_batch_goes_when_everything_has_ended() {
    for single in [true, false] {
        let mut b = Bench::start().await;
        let m = if single { vec![b.fill_one("a").await] } else { b.fill("a", Lane::Normal, &[1, 1]).await };
        let (mut c, batch) = (b.join().await, m[0].header.batch);
        b.claim(&mut c, &from(&["a"]), take(1)).await;
        b.broker.cancel(&mut b.conn, batch, None).await.unwrap();
        b.settle(&mut c, &failed(&m[0])).await;
        if !single {
            let before = b.snapshot().await;
            assert_eq!(revive(&mut b, &m[0]).await, Revived::Cancelled);
            assert_eq!(b.snapshot().await, before);
            b.claim(&mut c, &from(&["a"]), take(1)).await;
            b.settle(&mut c, &failed(&m[1])).await;
        }
        for message in &m {
            assert_eq!(revive(&mut b, message).await, Revived::Done);
        }
        let claimed = b.claim(&mut c, &from(&["a"]), LOTS).await;
        assert_eq!(flags(&claimed), vec![ClaimFlag::None; m.len()]);
        let answer = b.broker.cancel(&mut b.conn, batch, None).await.unwrap();
        assert_eq!(answer, Cancelled::Done, "what was revived can be cancelled again");
        b.settle(&mut c, &ok(&parsed(&claimed))).await;
        assert_eq!(b.broker.cancel(&mut b.conn, batch, None).await.unwrap(), Cancelled::AlreadyFinished);
        b.audit().await;
    }
}
