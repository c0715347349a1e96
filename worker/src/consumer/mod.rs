//! The consumer: one forked process which runs tasks one at a time.

use crate::roles::{ConsumerStart, EXIT_BUG};

/// Runs a consumer until it leaves; returns its exit code.
pub fn run(start: ConsumerStart) -> u8 {
    let _ = start;
    EXIT_BUG
}
