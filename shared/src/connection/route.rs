//! Where sentinels have led the connections of a process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::endpoint::Node;

/// What a sentinel says: where the master is, and since which fail-over. The latest is right: each fail-over raises
/// the epoch. Within one epoch the same master may have two names, its address and that of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) epoch: u64,
    pub(super) node: Node,
}

/// Shared by all clones of an endpoint, and so by all connections that are made with it.
#[derive(Debug, Default)]
pub(super) struct Route(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The oldest that any connection leads to; the latest once they have been told to move there.
    led: Option<Named>,
    /// How often they had to move.
    moves: u64,
}

impl Route {
    /// A connection leads there.
    pub(super) fn led_to(&self, named: &Named) {
        let mut state = self.state();
        if state.led.as_ref().is_none_or(|led| named.epoch < led.epoch) {
            state.led = Some(named.clone());
        }
    }

    /// A sentinel says so, and those who lead to the master of an earlier fail-over have to move. Returns how often
    /// that was so: those who share a route all get to know it.
    pub(super) fn heard(&self, named: Named) -> u64 {
        let mut state = self.state();
        if let Some(led) = &state.led
            && led.epoch < named.epoch
        {
            state.moves += u64::from(led.node != named.node);
            state.led = Some(named);
        }
        state.moves
    }

    /// How often connections had to move.
    pub(super) fn moves(&self) -> u64 {
        self.state().moves
    }

    /// Whether a later fail-over is known than the one that this tells of.
    pub(super) fn knows_more_than(&self, named: &Named) -> bool {
        self.state().led.as_ref().is_some_and(|led| named.epoch < led.epoch)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(epoch: u64, host: &str) -> Named {
        Named { epoch, node: Node { host: host.to_owned(), port: 6379 } }
    }

    #[test]
    fn only_a_later_failover_moves_connections() {
        let route = Route::default();
        assert_eq!(route.heard(named(7, "a")), 0, "nothing leads anywhere");
        route.led_to(&named(3, "a"));
        assert_eq!(route.heard(named(3, "a.example")), 0, "the same master by another name");
        assert_eq!(route.heard(named(2, "b")), 0, "who has not heard yet");
        assert_eq!(route.heard(named(4, "a")), 0, "there and back");
        assert_eq!(route.heard(named(5, "b")), 1);
        assert_eq!(route.heard(named(5, "b")), 1, "once");
        assert!(route.knows_more_than(&named(4, "a")) && !route.knows_more_than(&named(5, "b")));
    }

    #[test]
    fn one_connection_to_an_old_master_is_enough() {
        let route = Route::default();
        route.led_to(&named(5, "b"));
        // One that heard only of the old one, and one that did better.
        route.led_to(&named(4, "a"));
        route.led_to(&named(5, "b"));
        assert_eq!(route.heard(named(5, "b")), 1);
    }
}
