//! Waiting with a deadline, where no signal tells that something has happened.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Far longer than it takes, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

const STEP: Duration = Duration::from_millis(5);
/// No step counts as longer than this, so that a machine which stood still for a while fails no test:
/// those for whom we wait stood still as well.
const STEP_COUNTS: Duration = Duration::from_millis(100);

/// Asks again and again until there is an answer; panics with `what` after [`DEADLINE`].
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    poll(DEADLINE, ask).unwrap_or_else(|| panic!("not within {DEADLINE:?}: {what}"))
}

/// The same with a deadline of its own, and without the panic.
pub fn poll<T>(deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let mut patience = Patience::new(deadline);
    loop {
        let answer = ask();
        if answer.is_some() || patience.is_over() {
            return answer;
        }
        thread::sleep(STEP);
        patience.tick();
    }
}

/// What is left of a deadline.
#[derive(Debug)]
pub struct Patience {
    left: Duration,
    looked: Instant,
}

impl Patience {
    /// All of it.
    pub fn new(deadline: Duration) -> Self {
        Self { left: deadline, looked: Instant::now() }
    }

    /// The longest that one step may wait, so that all of it counts.
    pub fn step(&self) -> Duration {
        self.left.min(STEP_COUNTS)
    }

    /// A step was waited.
    pub fn tick(&mut self) {
        let now = Instant::now();
        self.left = self.left.saturating_sub(now.duration_since(self.looked).min(STEP_COUNTS));
        self.looked = now;
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.left.is_zero()
    }
}
