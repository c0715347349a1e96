//! Keeps the list of messages in flight: what was claimed, what has ended, what was settled.

use std::sync::atomic::Ordering::Relaxed;

use gristmill_broker::Claimed;
use gristmill_shared::{Message, OutcomeKind, events};

use super::ending::Note;
use super::handover::Ended;
use super::inflight::End;
use super::io::Io;
use super::prepare::{self, Room};
use super::upload;

/// Moves what the compute thread has ended into the books.
pub fn collect(io: &Io) {
    let mut inflight = io.inflight.borrow_mut();
    for ended in io.handover.take_ended() {
        if let Some(held) = inflight.by_serial(ended.serial) {
            let (item, run) = (ended.item, ended.run);
            let end = end_of(ended, held.ignores_results());
            held.end_after(item, end, run);
        }
    }
}

/// What is not kept is neither uploaded nor too large.
fn end_of(ended: Ended, ignores_result: bool) -> End {
    match ended.result {
        Ok(_) if ignores_result => End::Value(Vec::new()),
        Ok(output) => upload::checked(output),
        Err(_) if ended.stopped => prepare::cancelled(),
        Err(error) => End::Attempt(OutcomeKind::Failed, error),
    }
}

/// Appends claimed messages. After a replay, those that are known already are passed over.
pub fn take_in(io: &Io, claimed: Claimed) {
    let room = Room { task: io.meter.room(), shared: io.meter.shared_room() };
    let mut inflight = io.inflight.borrow_mut();
    for (position, message) in (claimed.base..).zip(claimed.messages) {
        if position < inflight.end() {
            continue;
        }
        let bytes = message.bytes.len();
        let parsed = match Message::parse(&message.bytes) {
            Ok(parsed) if position == inflight.end() => parsed,
            Ok(_) => io.bug("a claim left out a message"),
            Err(error) => io.bug(&format!("a claimed message has no readable header: {error}")),
        };
        let (task, count) = (parsed.task(0), parsed.header.count);
        tracing::debug!(event = events::MESSAGE_CLAIMED, %task, count, consumer = %io.consumer, position, "claimed");
        io.slot.counters().claimed.fetch_add(1, Relaxed);
        let serial = inflight.next_serial();
        inflight.push(prepare::prepare(serial, parsed, bytes, message.flag, &io.kernels, room));
    }
}

/// Tells the log what a settlement did; to be called before the messages leave the list.
pub fn log_settled(io: &Io, take: usize, notes: &[Note]) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        for held in io.inflight.borrow().head(take) {
            let (task, count) = (held.message.task(0), held.message.header.count);
            tracing::debug!(event = events::MESSAGE_SETTLED, %task, count, consumer = %io.consumer, "settled");
        }
    }
    for note in notes {
        match note {
            Note::Retried { task, attempt, delay } => {
                let delay_ms = delay.as_millis() as u64;
                tracing::info!(event = events::TASK_RETRIED, %task, attempt, delay_ms, "task will be tried again");
            }
            Note::Buried { task, kind, text } => {
                tracing::warn!(event = events::TASK_BURIED, %task, outcome = kind.as_str(), "task is dead: {text}");
            }
            Note::Parked { task, list } => {
                tracing::warn!(event = events::MESSAGE_PARKED, %task, kernel = list, "message parked: unknown here");
            }
        }
    }
}
