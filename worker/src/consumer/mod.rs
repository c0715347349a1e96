//! A consumer: one forked process that runs tasks one at a time.
//!
//! The main thread computes ([`compute`]); one I/O thread ([`io`]) holds the lease and speaks with Redis.
//! They share the [`handover`]. What a task passes, in order: [`steps`] claims its message, [`prepare`]
//! reads it, [`fetch`] gets arguments that stand in a blob, [`fetch_shared`] what its batch shares, which stays in the
//! [`shared_cache`], [`compute`] runs it, [`ending`] says what its outcome means, [`steps`] settles it. Besides,
//! [`lease`] renews, [`doorbell`] waits for work, [`watch`] enforces limits and gives back what would wait, [`meter`]
//! knows what memory is allowed, [`drain`] listens to the supervisor.

mod books;
mod compute;
mod doorbell;
mod drain;
mod ending;
mod fetch;
mod fetch_shared;
mod handover;
mod inflight;
mod init;
mod io;
mod lease;
mod meter;
mod pace;
mod panics;
mod prepare;
mod release;
mod shared_cache;
mod steps;
#[cfg(test)]
mod testing;
mod upload;
mod watch;
pub(crate) mod wire;

use std::sync::Arc;

use handover::Handover;
use meter::Meter;
use panics::Culprit;
use tokio::sync::Notify;

use crate::process;
use crate::roles::{ConsumerStart, EXIT_BUG};

/// Runs a consumer to its end and returns its exit code. To be called on the process's main thread,
/// while there is no other.
pub fn run(start: ConsumerStart) -> u8 {
    let slot = start.slot;
    if let Err(error) = process::mark_starvation(slot.starved()) {
        tracing::warn!(%error, "a lack of memory will look like a crash");
    }
    let culprit = Arc::new(Culprit::new(slot));
    panics::install_hook(Arc::clone(&culprit));
    let Some(states) = init::states(&start) else { return EXIT_BUG };
    // What stands in memory by now is no task's.
    let meter = Meter::new(start.config.limits);
    let nudge = Arc::new(Notify::new());
    let handover = Arc::new(Handover::new(Arc::clone(&nudge), start.config.limits.max_tasks));
    let (shared, their_meter) = (Arc::clone(&handover), meter.clone());
    let thread =
        std::thread::Builder::new().name("io".into()).spawn(move || io::run(start, shared, nudge, their_meter));
    match thread {
        Ok(io) => {
            compute::run(&handover, slot, &culprit, &meter, states);
            io.join().unwrap_or(EXIT_BUG)
        }
        Err(error) => {
            tracing::error!(%error, "the I/O thread cannot be started: allow this user more processes (ulimit -u)");
            EXIT_BUG
        }
    }
}
