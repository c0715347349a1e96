//! `fail`: an error, as often as wanted.

use gristmill_shared::{KernelError, TaskContext, kernel};

/// Fails at the first attempts.
///
/// Returns an error with the text `message` while the attempt (from 1) is ≤ `failures`, then the
/// number of the attempt. 65,535 fails always, 0 never.
#[kernel]
pub fn fail(ctx: &TaskContext, message: String, failures: u16) -> Result<u16, KernelError> {
    if ctx.attempt() <= failures { Err(KernelError::new(message)) } else { Ok(ctx.attempt()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fails_as_often_as_told() {
        let attempt = |number| TaskContext::detached().with_attempt(number);
        let refused = Err(KernelError::new("not yet"));
        assert_eq!(fail(&attempt(1), "not yet".into(), 0), Ok(1));
        assert_eq!(fail(&attempt(2), "not yet".into(), 2), refused);
        assert_eq!(fail(&attempt(3), "not yet".into(), 2), Ok(3));
        assert_eq!(fail(&attempt(u16::MAX), "not yet".into(), u16::MAX), refused);
    }
}
