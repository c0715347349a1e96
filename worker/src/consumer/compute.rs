//! The compute loop, on the process's main thread: it takes prepared items, runs kernels, and knows
//! nothing of Redis.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gristmill_shared::state::States;
use gristmill_shared::{Surroundings, TaskContext, events};
use nix::errno::Errno;

use super::handover::{Ended, Handover, Item};
use super::meter::Meter;
use super::panics::{self, Culprit};
use crate::slot::{Begin, SlotRef};

/// What the process holds is looked at after a task, but no more often than this.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Computes until the I/O thread says that it is over.
pub fn run(handover: &Handover, slot: SlotRef, culprit: &Culprit, meter: &Meter, states: States) {
    panics::guard_thread();
    let report = move |fraction, note: &str| slot.note_progress(fraction, note);
    let surroundings = Arc::new(Surroundings::new(Arc::clone(&handover.stop), states, report));
    let (mut ended, mut looked) = (None, Instant::now());
    while let Some(item) = handover.next(ended.take(), |item| culprit.begin(begin(item, meter))) {
        ended = Some(compute(handover, slot, &surroundings, &item));
        if meter.has_max() && looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            if meter.is_over_max() {
                handover.set_spent();
            }
        }
    }
}

fn begin(item: &Item, meter: &Meter) -> Begin {
    let job = &item.job;
    let (time_limit, memory) = (job.time_limit, meter.limit_for(job.memory));
    Begin { position: job.position, item: item.item, task: task(item), kernel: job.place, time_limit, memory }
}

fn task(item: &Item) -> gristmill_shared::TaskId {
    item.job.header.batch.task(item.job.header.first + u64::from(item.item))
}

fn compute(handover: &Handover, slot: SlotRef, surroundings: &Arc<Surroundings>, item: &Item) -> Ended {
    let job = &item.job;
    let (task, attempt) = (task(item), job.header.attempt);
    tracing::debug!(event = events::TASK_STARTED, %task, kernel = job.kernel.name, attempt, "task started");
    let context = TaskContext::new(surroundings, task, attempt)
        .soft_time_limit(job.soft_time_limit)
        .shared_input(job.shared.clone());
    let args: &[u8] = job.args.get(item.item as usize).map_or(&[], |args| args.as_slice());
    // What is found in it after a failed allocation is this task's.
    Errno::clear();
    let began = Instant::now();
    let result = panics::in_kernel(|| (job.kernel.run)(&context, args));
    let result = result.unwrap_or_else(Err);
    let run = began.elapsed();
    if !slot.finish(job.position, item.item) {
        wait_for_the_end();
    }
    let counters = slot.counters();
    counters.busy_us.fetch_add(run.as_micros() as u64, Relaxed);
    let outcome = if result.is_ok() { "succeeded" } else { "failed" };
    if result.is_ok() { &counters.succeeded } else { &counters.failed }.fetch_add(1, Relaxed);
    tracing::debug!(event = events::TASK_ENDED, %task, outcome, run_ms = run.as_millis() as u64, "task ended");
    Ended { serial: job.serial, item: item.item, result, run, stopped: handover.stop.load(Relaxed) }
}

/// The I/O thread has ended this task and is about to kill the process.
fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}
