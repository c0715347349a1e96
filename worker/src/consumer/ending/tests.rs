use gristmill_broker::ParkedList;
use gristmill_shared::{DeathCause, KernelError, KernelName};

use super::super::testing::{body, echo, held, message};
use super::*;

fn settle(over: &[Held]) -> (Settlement, Vec<Note>) {
    settlement(over.iter(), 1_000, || 1.0).unwrap()
}

fn done(serial: u64, first: u64, count: u32) -> Held {
    let mut held = held(serial, first, count);
    held.end_all(&End::Value(vec![1]));
    held
}

fn with_retries(retries: u16, attempt: u16) -> Held {
    let mut message = message(0, 3);
    message.header.attempt = attempt;
    let mut kernel = echo();
    kernel.options.retries = Some(retries);
    Held::new(1, message, Fate::Run { kernel, place: 0, body: Box::new(body(3)) }, 100)
}

fn lengths(settlement: &Settlement) -> Vec<(u64, usize)> {
    settlement.ending.runs.iter().map(|run| (run.first, run.outcomes.len())).collect()
}

fn fail(held: &mut Held, item: u32, retry: Retry) {
    let error = KernelError::new("no").retry_as(retry);
    held.end(item, End::Attempt(OutcomeKind::Failed, error));
}

#[test]
fn neighbours_share_a_run_also_over_messages() {
    let (settlement, _) = settle(&[done(1, 0, 3), done(2, 3, 2), done(3, 7, 1)]);
    assert_eq!(settlement.take.len(), 3);
    assert_eq!(lengths(&settlement), [(0, 5), (7, 1)]);
}

#[test]
fn a_run_ends_with_its_bucket() {
    let (settlement, _) = settle(&[done(1, 8_190, 2), done(2, 8_192, 2)]);
    assert_eq!(lengths(&settlement), [(8_190, 2), (8_192, 2)]);
}

#[test]
fn a_dead_item_is_a_run_of_its_own() {
    let mut held = with_retries(0, 1);
    held.end(0, End::Value(vec![1]));
    fail(&mut held, 1, Retry::AsConfigured);
    held.end(2, End::Value(vec![1]));
    let (settlement, notes) = settle(&[held]);
    assert_eq!(lengths(&settlement), [(0, 1), (1, 1), (2, 1)]);
    let dead = &settlement.ending.dead[0];
    assert_eq!((dead.message.header.first, dead.message.header.count), (1, 1));
    assert_eq!(dead.epitaph.kernel, "echo");
    assert!(matches!(notes[..], [Note::Buried { kind: OutcomeKind::Failed, .. }]));
}

#[test]
fn an_item_with_attempts_left_is_cut_out_and_scheduled() {
    let mut held = with_retries(1, 1);
    held.end(0, End::Value(vec![1]));
    fail(&mut held, 1, Retry::After(Duration::from_millis(500)));
    held.end(2, End::Value(vec![1]));
    let (settlement, _) = settle(&[held]);
    assert_eq!(lengths(&settlement), [(0, 1), (2, 1)]);
    let [replacement] = &settlement.ending.replacements[..] else { panic!("one is tried again") };
    assert!(matches!(replacement.to, Destination::Scheduled { due_at_ms: 1_500 }));
    assert_eq!((replacement.message.header.attempt, replacement.message.header.first), (2, 1));
    assert_eq!(replacement.message.read_body().unwrap().args, [vec![1]]);
    assert!(settlement.ending.dead.is_empty());
}

#[test]
fn what_a_limit_has_ended_is_tried_again_or_keeps_its_certificate() {
    for (retries, dies) in [(1, false), (0, true)] {
        let mut held = with_retries(retries, 1);
        held.end_all(&End::Value(vec![1]));
        held.ends[1] = Some(End::Stopped(
            OutcomeKind::TimedOut,
            Box::new(Certificate::unseen(DeathCause::TimeLimit, "c", "ran longer than it may")),
        ));
        let (settlement, _) = settle(&[held]);
        let (dead, replacements) = (&settlement.ending.dead, &settlement.ending.replacements);
        assert_eq!((dead.len(), replacements.len()), (usize::from(dies), usize::from(!dies)));
        let Some(dead) = dead.first() else { continue };
        let Outcome::Bad(OutcomeKind::TimedOut, failure) = &settlement.ending.runs[1].outcomes[0] else {
            panic!("{settlement:?}")
        };
        assert_eq!(failure.message, "ran longer than it may");
        assert_eq!(failure.certificate.as_ref().unwrap().item, Some(1));
        assert_eq!(dead.epitaph.failure.as_ref(), Some(failure));
    }
}

#[test]
fn no_retry_where_none_is_left_or_wanted_or_in_time() {
    let cases = [(1, 2, Retry::AsConfigured), (5, 1, Retry::Never), (5, 1, Retry::After(Duration::from_secs(9_999)))];
    for (retries, attempt, retry) in cases {
        let mut held = with_retries(retries, attempt);
        (0..3).for_each(|item| fail(&mut held, item, retry));
        let (settlement, _) = settle(&[held]);
        assert_eq!(settlement.ending.dead.len(), 3, "{retry:?}");
        assert!(settlement.ending.replacements.is_empty());
    }
}

#[test]
fn cancelled_items_are_recorded_and_not_buried() {
    let mut held = with_retries(3, 1);
    held.end_all(&super::super::prepare::cancelled());
    let (settlement, notes) = settle(&[held]);
    assert_eq!(lengths(&settlement), [(0, 3)]);
    assert!(settlement.ending.dead.is_empty() && notes.is_empty());
}

#[test]
fn a_parked_message_moves_as_it_is() {
    let list = ParkedList::Kernel(KernelName::new("other").unwrap());
    let (settlement, _) = settle(&[Held::new(1, message(0, 3), Fate::Park(list), 100)]);
    assert_eq!(settlement.take.len(), 1);
    assert_eq!(settlement.ending.replacements[0].message, message(0, 3));
    assert!(settlement.ending.runs.is_empty());
}

#[test]
fn an_unreadable_message_keeps_its_body_once() {
    let mut held = Held::new(1, message(5, 2), Fate::Unreadable, 100);
    held.end_all(&End::Final(OutcomeKind::Failed, "unreadable".into()));
    let (settlement, _) = settle(&[held]);
    let bodies: Vec<_> = settlement.ending.dead.iter().map(|dead| dead.message.body.is_empty()).collect();
    assert_eq!(bodies, [false, true]);
    assert_eq!(lengths(&settlement), [(5, 1), (6, 1)]);
}

#[test]
fn a_call_stays_within_its_bytes() {
    let big = |serial| {
        let mut held = held(serial, serial * 10, 1);
        held.end_all(&End::Value(vec![0; 60_000]));
        held
    };
    let many: Vec<_> = (0..40).map(big).collect();
    assert_eq!(fitting(many.iter()), 16);
    let mut alone = held(1, 0, 100);
    alone.end_all(&End::Value(vec![0; 20_000]));
    assert_eq!(fitting([alone].iter()), 1);
}

#[test]
fn many_long_texts_are_cut() {
    let mut held = held(1, 0, 256);
    held.end_all(&End::Final(OutcomeKind::Failed, "ü".repeat(4_000)));
    let (settlement, _) = settle(&[held]);
    let texts: usize =
        settlement.ending.dead.iter().filter_map(|d| d.epitaph.failure.as_ref()).map(|f| f.message.len()).sum();
    assert!(texts <= TEXTS_BYTES_MAX, "{texts}");
}

#[test]
fn a_large_message_that_nobody_can_read_ends_in_pieces() {
    let mut message = message(100, 1_000);
    message.body = vec![0xc1; 50_000];
    let mut held = Held::new(1, message, Fate::Unreadable, 50_100);
    held.end_all(&End::Final(OutcomeKind::Failed, "the message cannot be read".into()));
    assert!(weight(&held) < BYTES_MAX / 2, "{}", weight(&held));
    let (settlement, _) = settle(&[held]);
    assert_eq!((settlement.ending.dead.len(), settlement.ending.runs.len()), (256, 256));
    let [Replacement { message, to: Destination::Front }] = &settlement.ending.replacements[..] else {
        panic!("one rest, to the front")
    };
    assert_eq!((message.header.first, message.header.count, message.body.len()), (356, 744, 50_000));
}
