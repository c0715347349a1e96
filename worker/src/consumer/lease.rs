//! Keeps the lease, and what comes with it: cancels, touches, Redis's clock, the number of consumers.

use std::rc::Rc;
use std::time::{Duration, Instant};

use gristmill_broker::{BrokerError, CancelMark, Renewed};
use gristmill_shared::BatchId;
use gristmill_shared::defaults::{RENEWAL, SHARED_UNUSED, TOUCH};

use super::inflight::Held;
use super::io::Io;
use super::{fetch, prepare};
use crate::clock;

/// What the consumer has to know before its first claim. A cancel after this moment changes the epoch.
pub async fn first(io: &Io) -> Result<(), BrokerError> {
    io.cancel_epoch.set(renew(io).await?);
    set_clock(io).await
}

/// Renews for as long as the process lives.
pub async fn keep(io: Rc<Io>) {
    let every = RENEWAL.min(io.config.lease * 3 / 10);
    let (mut touched, mut counted) = (Instant::now(), Instant::now());
    loop {
        // Either because it is time, or because the agent has seen a cancel.
        let _ = tokio::time::timeout(every, io.cancelled.notified()).await;
        let renewed = round(&io, &mut touched, &mut counted).await;
        if let Err(error) = renewed {
            tracing::error!(consumer = %io.consumer, "the lease cannot be renewed: {error}");
        }
    }
}

async fn round(io: &Io, touched: &mut Instant, counted: &mut Instant) -> Result<(), BrokerError> {
    let epoch = renew(io).await?;
    if epoch != io.cancel_epoch.get() {
        cancel(io).await?;
        io.cancel_epoch.set(epoch);
    }
    // A short lease is renewed more often; how many consumers live need not be known so well.
    if counted.elapsed() >= RENEWAL {
        *counted = Instant::now();
        let live = io.wire.call(async |conn| io.broker.live_consumers(conn).await).await?;
        io.live.set(u32::try_from(live).unwrap_or(u32::MAX).max(1));
        let inflight = io.inflight.borrow();
        io.shared.borrow_mut().tidy(SHARED_UNUSED, |batch| fetch::is_needed(&inflight, batch));
    }
    if touched.elapsed() >= TOUCH {
        *touched = Instant::now();
        let batches = io.inflight.borrow().batches();
        if !batches.is_empty() {
            io.wire.call(async |conn| io.broker.touch(conn, &batches).await).await?;
        }
        set_clock(io).await?;
    }
    Ok(())
}

async fn renew(io: &Io) -> Result<u64, BrokerError> {
    let lease = io.config.lease;
    match io.wire.call(async |conn| io.broker.renew(conn, io.consumer, lease).await).await? {
        Renewed::Yes { cancel_epoch } => Ok(cancel_epoch),
        Renewed::LeaseLost => io.lease_lost(),
    }
}

/// Due times of retries are Redis's: a machine whose clock is wrong must not shift them.
async fn set_clock(io: &Io) -> Result<(), BrokerError> {
    let theirs = io.wire.call(async |conn| io.broker.redis_time_ms(conn).await).await?;
    io.clock_ahead_ms.set(theirs as i64 - clock::epoch_ms() as i64);
    Ok(())
}

/// Looks at the marks of everything in flight.
async fn cancel(io: &Io) -> Result<(), BrokerError> {
    let batches = io.inflight.borrow().batches();
    if batches.is_empty() {
        return Ok(());
    }
    let marks = io.wire.call(async |conn| io.broker.cancelled(conn, &batches).await).await?;
    for (batch, mark) in batches.into_iter().zip(marks) {
        apply(io, batch, &mark);
    }
    io.nudge.notify_one();
    Ok(())
}

/// What has not begun ends as cancelled; what runs is told to stop if the mark says so, and [`super::watch`]
/// waits for it.
fn apply(io: &Io, batch: BatchId, mark: &CancelMark) {
    let mut inflight = io.inflight.borrow_mut();
    for held in inflight.iter_mut().filter(|held| held.message.header.batch == batch && !held.is_over()) {
        let items = marked(held, mark);
        let unstarted = if held.handed_over {
            io.handover.skip(held.serial, &items, |item| stops(held, mark, item))
        } else {
            items
        };
        for item in unstarted {
            held.end(
                item,
                if let CancelMark::OverBudget(bytes, _) = mark {
                    prepare::over_budget(*bytes)
                } else {
                    prepare::cancelled()
                },
            );
        }
    }
}

/// The items of a message that a mark concerns.
fn marked(held: &Held, mark: &CancelMark) -> Vec<u32> {
    let header = &held.message.header;
    match mark {
        CancelMark::None => Vec::new(),
        CancelMark::All | CancelMark::Unstarted(_) | CancelMark::OverBudget(..) => (0..header.count).collect(),
        CancelMark::Tasks(indices) => {
            let inside = indices.iter().filter(|&index| header.indices().contains(index));
            inside.map(|index| (index - header.first) as u32).collect()
        }
    }
}

/// Whether the mark of an item concerns it even while it runs.
fn stops(held: &Held, mark: &CancelMark, item: u32) -> bool {
    match mark {
        CancelMark::Unstarted(even) | CancelMark::OverBudget(_, even) => {
            even.contains(&(held.message.header.first + u64::from(item)))
        }
        _ => true,
    }
}

/// How long a cancelled task may take to come to an end by itself.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::super::testing::held;
    use super::*;

    #[test]
    fn a_mark_concerns_the_items_inside_the_message() {
        let held = held(1, 10, 3);
        assert_eq!(marked(&held, &CancelMark::All), [0, 1, 2]);
        assert_eq!(marked(&held, &CancelMark::Tasks(vec![9, 10, 12, 13])), [0, 2]);
        assert!(marked(&held, &CancelMark::None).is_empty());
        let unstarted = CancelMark::Unstarted(vec![11]);
        assert_eq!(marked(&held, &unstarted), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|item| stops(&held, &unstarted, item)), [false, true, false]);
        assert!(stops(&held, &CancelMark::All, 0));
    }
}
