//! What goes back to the queue: everything behind the cut. Pure.

use gristmill_broker::Release;
use gristmill_shared::codec::CodecError;
use gristmill_shared::{Message, QueueName};

use super::inflight::{Fate, Held, InFlight};

/// A rest goes back as at most so many messages.
const RESTS_MAX: u32 = 64;

/// The release of everything from item `item` of the message at `position` on. None: nothing is there.
pub fn release(inflight: &InFlight, position: u64, item: u32, live: u32) -> Result<Option<Release>, CodecError> {
    let index = position.saturating_sub(inflight.base()) as usize;
    let Some(held) = inflight.at(index) else { return Ok(None) };
    let count = held.message.header.count;
    if item == 0 {
        return Ok(Some(drop_from(inflight, position, None, Vec::new())));
    }
    if item < count
        && let Fate::Run { body, .. } = &held.fate
    {
        let started = held.message.slice(body, 0..item)?;
        let rests = split(held, item, live)?;
        return Ok(Some(drop_from(inflight, position + 1, Some((position, started)), rests)));
    }
    let tail = position + 1 < inflight.end();
    Ok(tail.then(|| drop_from(inflight, position + 1, None, Vec::new())))
}

fn drop_from(inflight: &InFlight, from: u64, started: Option<(u64, Message)>, rests: Vec<Message>) -> Release {
    let dropped = inflight.iter().skip(from.saturating_sub(inflight.base()) as usize).map(|held| &held.message);
    let mut queues: Vec<QueueName> = dropped.chain(&rests).map(|message| message.header.queue.clone()).collect();
    queues.sort_unstable();
    queues.dedup();
    Release { from, started, rests, queues }
}

/// The items from `from` on, as messages for all who may be free.
fn split(held: &Held, from: u32, live: u32) -> Result<Vec<Message>, CodecError> {
    let Fate::Run { body, .. } = &held.fate else { return Ok(Vec::new()) };
    let rest = held.message.header.count - from;
    let parts = rest.min(live.saturating_mul(2)).clamp(1, RESTS_MAX);
    (0..parts)
        .map(|part| {
            let bound = |part: u32| from + (u64::from(rest) * u64::from(part) / u64::from(parts)) as u32;
            held.message.slice(body, bound(part)..bound(part + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::held;
    use super::*;

    fn three() -> InFlight {
        let mut inflight = InFlight::default();
        for serial in 1..=3 {
            inflight.push(held(serial, serial * 1_000, 100));
        }
        inflight
    }

    fn ranges(rests: &[Message]) -> Vec<(u64, u32)> {
        rests.iter().map(|rest| (rest.header.first, rest.header.count)).collect()
    }

    #[test]
    fn the_started_part_stays_and_the_rest_is_cut_for_all() {
        let release = release(&three(), 1, 90, 2).unwrap().unwrap();
        let (position, started) = release.started.unwrap();
        assert_eq!((position, started.header.first, started.header.count), (1, 2_000, 90));
        assert_eq!(ranges(&release.rests), [(2_090, 2), (2_092, 3), (2_095, 2), (2_097, 3)]);
        assert_eq!(release.from, 2);
        assert_eq!(release.queues.len(), 1);
    }

    #[test]
    fn rests_cover_everything_once_and_are_bounded() {
        for live in [0, 1, 3, 1_000] {
            for item in [1, 7, 50, 99] {
                let release = release(&three(), 0, item, live).unwrap().unwrap();
                assert!(release.rests.len() <= 64 && !release.rests.is_empty());
                let mut next = 1_000 + u64::from(item);
                for (first, count) in ranges(&release.rests) {
                    assert_eq!(first, next);
                    next += u64::from(count);
                }
                assert_eq!(next, 1_100);
            }
        }
    }

    #[test]
    fn a_message_of_which_nothing_started_goes_back_whole() {
        let release = release(&three(), 1, 0, 4).unwrap().unwrap();
        assert_eq!((release.from, release.started, release.rests.len()), (1, None, 0));
    }

    #[test]
    fn a_message_that_has_started_entirely_stays_whole() {
        let inflight = three();
        let given = release(&inflight, 1, 100, 4).unwrap().unwrap();
        assert_eq!((given.from, given.started, given.rests.len()), (2, None, 0));
        assert!(release(&inflight, 2, 100, 4).unwrap().is_none(), "nothing lies behind it");
        assert!(release(&inflight, 3, 0, 4).unwrap().is_none());
    }
}
