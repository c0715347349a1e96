//! What a consumer makes for itself before it claims its first task.

use gristmill_shared::events;
use gristmill_shared::state::States;

use super::panics;
use crate::roles::ConsumerStart;
use crate::slot::Leaving;

/// The states of this process: those from before the fork, and what the worker's `init` functions make. None: one of them
/// failed, and the process has to leave. It holds nothing yet, so nobody is harmed; a successor comes after a while.
pub fn states(start: &ConsumerStart) -> Option<States> {
    let mut states = start.config.states.clone();
    let made = panics::in_kernel(|| start.config.inits.run(&mut states));
    let made = made.unwrap_or_else(|panic| Err(panic.to_string()));
    start.slot.set_prepared();
    let Err(error) = made else { return Some(states) };
    start.slot.leave(Leaving::InitFailed);
    let consumer = start.consumer;
    tracing::error!(event = events::CONSUMER_INIT_FAILED, %consumer, "init failed, a successor will try again: {error}");
    None
}
