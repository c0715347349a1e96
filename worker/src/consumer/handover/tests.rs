use super::super::testing::job;
use super::*;

fn handover() -> Handover {
    Handover::new(Arc::default(), None)
}

fn ended(serial: u64, item: u32) -> Option<Ended> {
    Some(Ended { serial, item, result: Ok(vec![0]), run: Duration::from_millis(1), stopped: false })
}

fn next(handover: &Handover, ended: Option<Ended>) -> Option<(u64, u32)> {
    handover.next(ended, |_| true).map(|item| (item.job.serial, item.item))
}

#[test]
fn items_come_in_order_and_skipped_ones_do_not_come() {
    let handover = handover();
    handover.push(job(1, 0, 3), vec![false, true, false]);
    handover.push(job(2, 1, 1), vec![false]);
    assert_eq!(handover.glance().unstarted, 3);
    assert_eq!(next(&handover, None), Some((1, 0)));
    assert_eq!(next(&handover, ended(1, 0)), Some((1, 2)));
    let glance = handover.glance();
    assert_eq!((glance.unstarted, glance.ended), (1, 1));
    assert_eq!(glance.running.map(|r| (r.position, r.item)), Some((0, 2)));
    assert_eq!(next(&handover, ended(1, 2)), Some((2, 0)));
    handover.close();
    assert_eq!(next(&handover, ended(2, 0)), None);
    assert_eq!(handover.take_ended().len(), 3);
}

#[test]
fn nothing_begins_behind_a_cut() {
    let handover = handover();
    handover.push(job(1, 0, 4), vec![false; 4]);
    handover.push(job(2, 1, 1), vec![false]);
    assert_eq!(next(&handover, None), Some((1, 0)));
    assert_eq!(next(&handover, ended(1, 0)), Some((1, 1)));
    assert_eq!(handover.cut(), Some(Cut { serial: 1, item: 2 }));
    assert_eq!(handover.glance().unstarted, 0);
    handover.push(job(3, 1, 1), vec![false]);
    assert_eq!(next(&handover, ended(1, 1)), Some((3, 0)), "what came after the cut runs");
}

#[test]
fn a_cut_between_two_messages_names_the_one_that_is_through() {
    let handover = handover();
    assert_eq!(handover.cut(), None);
    handover.push(job(1, 0, 1), vec![false]);
    handover.push(job(2, 1, 1), vec![false]);
    assert_eq!(next(&handover, None), Some((1, 0)));
    assert_eq!(handover.cut(), Some(Cut { serial: 1, item: 1 }));
}

#[test]
fn a_message_with_many_failures_stops_early() {
    let handover = handover();
    let count = FAILURES_PER_MESSAGE_MAX + 5;
    handover.push(job(1, 0, count), vec![false; count as usize]);
    let mut item = next(&handover, None);
    for failed in 0..FAILURES_PER_MESSAGE_MAX {
        assert_eq!(item, Some((1, failed)));
        if failed + 1 == FAILURES_PER_MESSAGE_MAX {
            handover.close();
        }
        let result = Err(KernelError::new("no"));
        item = next(&handover, Some(Ended { serial: 1, item: failed, result, run: Duration::ZERO, stopped: false }));
    }
    assert!(handover.glance().capped);
    assert_eq!(handover.cut(), Some(Cut { serial: 1, item: FAILURES_PER_MESSAGE_MAX }));
    assert!(!handover.glance().capped);
}

#[test]
fn a_cancel_skips_what_has_not_begun_and_stops_what_runs() {
    let handover = handover();
    handover.push(job(1, 0, 3), vec![false; 3]);
    handover.push(job(2, 1, 2), vec![false; 2]);
    assert_eq!(next(&handover, None), Some((1, 0)));
    assert_eq!(handover.skip(1, &[0, 1], |_| true), [1]);
    assert!(handover.stop.load(Ordering::Relaxed));
    assert_eq!(handover.skip(2, &[0], |_| true), [0]);
    assert_eq!(next(&handover, ended(1, 0)), Some((1, 2)));
    assert!(!handover.stop.load(Ordering::Relaxed), "the next item is not stopped");
    assert_eq!(next(&handover, ended(1, 2)), Some((2, 1)));
}

#[test]
fn no_more_items_begin_than_allowed() {
    let handover = Handover::new(Arc::default(), Some(3));
    handover.push(job(1, 0, 2), vec![false; 2]);
    handover.push(job(2, 1, 2), vec![false; 2]);
    assert_eq!(next(&handover, None), Some((1, 0)));
    assert_eq!(next(&handover, ended(1, 0)), Some((1, 1)));
    assert_eq!((handover.glance().spent, handover.glance().left), (false, Some(1)));
    assert_eq!(next(&handover, ended(1, 1)), Some((2, 0)));
    assert!(handover.glance().spent, "known while the last one runs");
    assert_eq!(handover.cut(), Some(Cut { serial: 2, item: 1 }), "the rest goes back");
}
