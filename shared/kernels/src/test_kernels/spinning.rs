//! `spin`: a task that does not listen.

use std::hint;
use std::time::{Duration, Instant};

use gristmill_shared::{KernelError, kernel};

/// A day.
const SPIN_MS_MAX: u64 = 86_400_000;

/// Keeps a core busy and never looks whether it should stop.
///
/// For `ms` milliseconds, from 0 to 86,400,000 (a day).
#[kernel]
pub fn spin(ms: u64) -> Result<(), KernelError> {
    if ms > SPIN_MS_MAX {
        return Err(KernelError::fatal(format!("cannot spin for {ms} ms: use 0 to {SPIN_MS_MAX}")));
    }
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(ms) {
        hint::spin_loop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_spins_as_long_as_told() {
        let started = Instant::now();
        assert_eq!(spin(5), Ok(()));
        assert!(started.elapsed() >= Duration::from_millis(5));
        assert!(spin(u64::MAX).is_err());
    }
}
