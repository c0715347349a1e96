//! The outcomes of a batch in the order of its tasks.

use std::time::Duration;

use gristmill_shared::message::BlobRef;
use gristmill_shared::outcome::Outcome;
use gristmill_shared::results::{Collected, InOrder, ResultsError};
use tokio::time::timeout;

use crate::fleet::Fleet;
use crate::{LONG, value};

async fn next(outcomes: &mut InOrder) -> Option<Result<(u64, Collected), ResultsError>> {
    timeout(LONG, outcomes.next()).await.expect("it hangs")
}

/// So many outcomes: each is the last byte of its index, or was delivered to somebody else.
async fn take(outcomes: &mut InOrder, indices: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut delivered = Vec::new();
    for wanted in indices {
        match next(outcomes).await.expect("it has ended").unwrap() {
            (index, Collected::Outcome(outcome, _)) => assert_eq!((index, outcome), (wanted, value(index as u8))),
            (index, Collected::Delivered) => {
                assert_eq!(index, wanted);
                delivered.push(index);
            }
        }
    }
    delivered
}

async fn settle(fleet: &mut Fleet, batch: gristmill_shared::BatchId, first: u64, count: u64) {
    let outcomes: Vec<Outcome> = (first..first + count).map(|index| value(index as u8)).collect();
    fleet.settle(batch, first, &outcomes).await;
}

#[tokio::test]
async fn each_is_waited_for_in_its_turn() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    for first in [10, 0, 30, 7] {
        settle(&mut fleet, batch, first, if first == 0 { 7 } else { 3 }).await;
    }
    let mut outcomes = fleet.collector().in_order(batch);
    assert!(take(&mut outcomes, 0..13).await.is_empty());
    assert!(timeout(Duration::from_millis(50), outcomes.next()).await.is_err(), "13 has not ended");
    settle(&mut fleet, batch, 13, 17).await;
    assert!(take(&mut outcomes, 13..33).await.is_empty());
    fleet.finish(batch, 33).await;
    assert!(next(&mut outcomes).await.is_none() && next(&mut outcomes).await.is_none());
    let mut outcomes = fleet.collector().in_order(batch);
    outcomes.skip_to(12);
    take(&mut outcomes, 12..14).await;
    outcomes.skip_to(3);
    outcomes.skip_to(25);
    assert!(take(&mut outcomes, 25..33).await.is_empty());
    assert!(next(&mut outcomes).await.is_none());
}

#[tokio::test]
async fn what_was_forgotten_is_told_when_the_batch_has_finished() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    let runs = [(0, 100), (100, 4000), (4100, 4090), (8190, 4096), (12_286, 10), (20_000, 5)];
    for (first, count) in runs {
        settle(&mut fleet, batch, first, count).await;
    }
    for first in [100, 8190] {
        fleet.forget(batch, first).await;
    }
    fleet.finish(batch, 20_007).await;
    let mut outcomes = fleet.collector().in_order(batch);
    let gone: Vec<u64> = (100..4100).chain(8190..12_286).chain(12_296..20_000).chain(20_005..20_007).collect();
    assert_eq!(take(&mut outcomes, 0..20_007).await, gone);
    assert!(next(&mut outcomes).await.is_none());
}

#[tokio::test]
async fn a_run_that_began_before_is_found() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    settle(&mut fleet, batch, 8180, 10).await;
    let mut outcomes = fleet.collector().in_order(batch);
    outcomes.skip_to(8180);
    take(&mut outcomes, 8180..8190).await;
    // Redis lost its last second, and what it settles anew is divided in another way.
    fleet.forget(batch, 8180).await;
    settle(&mut fleet, batch, 8185, 20).await;
    fleet.finish(batch, 8205).await;
    assert!(take(&mut outcomes, 8190..8205).await.is_empty());
    assert!(next(&mut outcomes).await.is_none());
}

#[tokio::test]
async fn rubbish_and_lost_blobs_stand_for_one_outcome() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open().await;
    let blob = |name: &str| BlobRef { name: name.into(), bytes: 3 };
    fleet.blob(batch, &blob("o1"), b"abc").await;
    fleet.settle(batch, 0, &[Outcome::Blob(blob("gone")), Outcome::Blob(blob("o1"))]).await;
    fleet.settle_bytes(batch, 2, 1, b"x").await;
    settle(&mut fleet, batch, 3, 1).await;
    fleet.finish(batch, 4).await;
    let mut outcomes = fleet.collector().in_order(batch);
    assert!(matches!(next(&mut outcomes).await, Some(Err(ResultsError::BlobGone(task))) if task.index == 0));
    assert!(
        matches!(next(&mut outcomes).await, Some(Ok((1, Collected::Outcome(Outcome::Value(v), _)))) if v == b"abc")
    );
    assert!(matches!(next(&mut outcomes).await, Some(Err(ResultsError::Unreadable { task, .. })) if task.index == 2));
    take(&mut outcomes, 3..4).await;
    assert!(next(&mut outcomes).await.is_none());
    let mut outcomes = fleet.collector().in_order(batch).without_blobs();
    assert!(matches!(next(&mut outcomes).await, Some(Ok((0, Collected::Outcome(Outcome::Blob(_), _))))));
}

#[tokio::test]
async fn a_batch_of_one_and_none_at_all() {
    let mut fleet = Fleet::start().await;
    let batch = fleet.open_single().await;
    let mut outcomes = fleet.collector().in_order(batch);
    assert!(timeout(Duration::from_millis(50), outcomes.next()).await.is_err());
    fleet.settle_single(batch, &value(0), false).await;
    take(&mut outcomes, 0..1).await;
    assert!(next(&mut outcomes).await.is_none());
    let mut outcomes = fleet.collector().in_order(gristmill_shared::BatchId::new());
    assert!(matches!(next(&mut outcomes).await, Some(Err(ResultsError::NoSuchBatch(_)))));
    assert!(next(&mut outcomes).await.is_none());
}
