//! Looks at what runs, 40 times a second while something does: time limits, cancels that are not
//! obeyed, the end of a drain's grace, and tasks that keep others waiting.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gristmill_shared::{Certificate, DeathCause, OutcomeKind};
use nix::sys::resource::{UsageWho, getrusage};

use super::handover::{Cut, Running};
use super::inflight::{End, Fate};
use super::io::{Io, Mode};
use super::lease::STOP_GRACE;
use super::meter::ceiling;
use super::pace::{LONG, is_too_far_ahead};
use super::{fetch, prepare};
use crate::memory;
use crate::slot::{EndedFor, Leaving};

const LOOK_EVERY: Duration = Duration::from_millis(25);
const IDLE_LOOK_EVERY: Duration = Duration::from_millis(100);

/// Watches for as long as the process lives.
pub async fn watch(io: Rc<Io>) {
    let mut stopping: Option<(u64, u32, Instant)> = None;
    let mut cancel_epoch = io.slots.cancel_epoch();
    loop {
        if io.inflight.borrow().is_empty() && io.mode.get() == Mode::Working {
            if io.meter.is_over_max() {
                io.recycle();
                continue;
            }
            io.busy.notified().await;
        }
        let epoch = io.slots.cancel_epoch();
        if epoch != std::mem::replace(&mut cancel_epoch, epoch) && epoch != io.cancel_epoch.get() {
            io.cancelled.notify_one();
        }
        let glance = io.handover.glance();
        let Some(running) = glance.running else {
            tokio::time::sleep(if io.inflight.borrow().is_empty() { IDLE_LOOK_EVERY } else { LOOK_EVERY }).await;
            continue;
        };
        let behind = tasks_behind(&io, &running);
        let long = running.message_for >= LONG && (behind > 0 || glance.unstarted > 0);
        if (long || is_too_far_ahead(behind, glance.task_time)) && io.mode.get() == Mode::Working {
            io.give_back.set(true);
            io.nudge.notify_one();
        }
        note_memory(&io);
        enforce_memory(&io);
        if !matches!(io.mode.get(), Mode::Ending { .. }) {
            enforce(&io, &running, &mut stopping);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How many tasks stand in the messages behind the one that runs.
fn tasks_behind(io: &Io, running: &Running) -> u64 {
    let inflight = io.inflight.borrow();
    let begun = (running.position + 1).saturating_sub(inflight.base()) as usize;
    inflight.iter().skip(begun).map(|held| u64::from(held.message.header.count)).sum()
}

fn note_memory(io: &Io) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        io.slot.note_rss(usage.max_rss().max(0) as u64 * 1024);
    }
}

/// A task that has passed its memory limit takes more with every moment: its process ends at once, and the
/// agent records why.
fn enforce_memory(io: &Io) {
    let slot = io.slot.snapshot();
    let Some(task) = slot.task else { return };
    let Some((limit, own)) = task.memory.zip(memory::own()) else { return };
    let held = (own.resident + memory::programs()).saturating_sub(io.meter.shared().bytes());
    io.slot.note_memory(held);
    if held <= ceiling(&limit) {
        return;
    }
    // One that was ended for another reason goes on until that is settled, which may take long: not with this much.
    if slot.ended.is_some() || io.slot.end(task.position, task.item, EndedFor::Memory) {
        io.end_process();
    }
}

fn enforce(io: &Io, running: &Running, stopping: &mut Option<(u64, u32, Instant)>) {
    if let Some(limit) = time_limit(io, running.serial)
        && running.item_for >= limit
    {
        let end = End::Stopped(OutcomeKind::TimedOut, Box::new(certificate(io, running, limit)));
        return settle_as(io, running, Leaving::TimeLimit, end);
    }
    if io.handover.stop.load(Relaxed) {
        let (serial, item, since) = *stopping.get_or_insert((running.serial, running.item, Instant::now()));
        if (serial, item) != (running.serial, running.item) {
            *stopping = Some((running.serial, running.item, Instant::now()));
        } else if since.elapsed() >= STOP_GRACE {
            return settle_as(io, running, Leaving::Cancelled, prepare::cancelled());
        }
    } else {
        *stopping = None;
    }
    if io.drain_by.get().is_some_and(|by| by <= Instant::now())
        && io.slot.end(running.position, running.item, EndedFor::Order)
    {
        let returned = Some(Cut { serial: running.serial, item: running.item });
        end(io, Mode::Ending { why: Leaving::Drain, returned });
    }
}

/// What is known of a task that runs longer than it may, as its process is about to end over it.
fn certificate(io: &Io, running: &Running, limit: Duration) -> Certificate {
    let slot = io.slot.snapshot();
    let summary = format!("ran longer than its time limit of {limit:?}");
    Certificate {
        run_ms: Some(running.item_for.as_millis() as u64),
        peak_rss_bytes: Some(slot.peak_rss_bytes).filter(|&bytes| bytes > 0),
        progress: slot.progress,
        fraction: slot.fraction,
        host: Some(io.config.host.clone()),
        ..Certificate::unseen(DeathCause::TimeLimit, io.consumer.to_string(), summary)
    }
}

fn time_limit(io: &Io, serial: u64) -> Option<Duration> {
    let mut inflight = io.inflight.borrow_mut();
    match &inflight.by_serial(serial)?.fate {
        Fate::Run { kernel, body, .. } => fetch::time_limit(kernel.options, &body.options),
        _ => None,
    }
}

/// Ends the running task, if it has not just ended by itself.
fn settle_as(io: &Io, running: &Running, why: Leaving, outcome: End) {
    let charged = if why == Leaving::TimeLimit { EndedFor::Limit } else { EndedFor::Order };
    if !io.slot.end(running.position, running.item, charged) {
        return;
    }
    if let Some(held) = io.inflight.borrow_mut().by_serial(running.serial) {
        held.end_after(running.item, outcome, running.item_for);
    }
    end(io, Mode::Ending { why, returned: None });
}

fn end(io: &Io, mode: Mode) {
    io.mode.set(mode);
    io.nudge.notify_one();
}
