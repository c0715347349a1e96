//! `sleep`: an example that looks whether it should stop.

use std::thread;
use std::time::{Duration, Instant};

use gristmill_shared::{KernelError, TaskContext, kernel};

/// Longest sleep, seconds: a day.
pub const SLEEP_SECONDS_MAX: f64 = 86_400.0;

/// How often a sleeper looks whether it should stop.
const STEP: Duration = Duration::from_millis(20);

/// Waits without computing.
///
/// `seconds` is from 0 to 86,400 (a day), fractions allowed; anything else is an error, never
/// retried. A task that is cancelled while it waits ends within 20 ms, with an error.
#[kernel]
pub fn sleep(ctx: &TaskContext, seconds: f64) -> Result<(), KernelError> {
    if !(0.0..=SLEEP_SECONDS_MAX).contains(&seconds) {
        return Err(KernelError::fatal(format!("cannot sleep for {seconds} seconds: use 0 to {SLEEP_SECONDS_MAX}")));
    }
    let started = Instant::now();
    let wanted = Duration::from_secs_f64(seconds);
    while let Some(rest) = wanted.checked_sub(started.elapsed()).filter(|rest| !rest.is_zero()) {
        if ctx.should_stop() {
            let slept = started.elapsed().as_secs_f64();
            return Err(KernelError::fatal(format!("stopped after {slept:.3} of {seconds} seconds")));
        }
        thread::sleep(rest.min(STEP));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn it_sleeps_no_less_than_told() {
        let started = Instant::now();
        assert_eq!(sleep(&TaskContext::detached(), 0.03), Ok(()));
        assert!(started.elapsed() >= Duration::from_millis(30));
        assert_eq!(sleep(&TaskContext::detached(), 0.0), Ok(()));
    }

    #[test]
    fn it_refuses_what_is_no_time_to_sleep() {
        for seconds in [-0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 86_400.1] {
            let error = sleep(&TaskContext::detached(), seconds).unwrap_err();
            assert!(error.message().contains("use 0 to 86400"), "{error}");
        }
    }

    #[test]
    fn it_stops_when_told() {
        let stopped = TaskContext::detached().with_stop(Arc::new(AtomicBool::new(true)));
        let error = sleep(&stopped, SLEEP_SECONDS_MAX).unwrap_err();
        assert!(error.message().starts_with("stopped after 0."), "{error}");
    }
}
