//! Waiting with a deadline, where no signal tells that something has happened.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Far longer than it takes, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

const STEP: Duration = Duration::from_millis(5);

/// Asks again and again until there is an answer; panics with `what` after [`DEADLINE`].
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, ask)
}

/// The same with a deadline of its own.
pub fn within<T>(deadline: Duration, what: &str, ask: impl FnMut() -> Option<T>) -> T {
    poll(deadline, ask).unwrap_or_else(|| panic!("not within {deadline:?}: {what}"))
}

/// The same without the panic.
pub fn poll<T>(deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + deadline;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() >= until {
            return answer;
        }
        thread::sleep(STEP);
    }
}
