//! `square`: an example with an error.

use gristmill_shared::{KernelError, kernel};

/// Multiplies a whole number by itself.
///
/// An error, never retried, where n × n is above 2^63 − 1, that is |n| > 3,037,000,499.
#[kernel]
pub fn square(n: i64) -> Result<i64, KernelError> {
    let overflow = || KernelError::fatal(format!("the square of {n} does not fit in 64 bits: use |n| <= 3037000499"));
    n.checked_mul(n).ok_or_else(overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_up_to_the_edge() {
        for (n, expected) in [(0, 0), (7, 49), (-7, 49), (3_037_000_499, 9_223_372_030_926_249_001)] {
            assert_eq!(square(n), Ok(expected));
        }
        for n in [3_037_000_500, i64::MAX, i64::MIN] {
            let error = square(n).unwrap_err();
            assert_eq!(error.retry(), gristmill_shared::kernel::Retry::Never);
            assert!(error.message().contains(&n.to_string()), "{error}");
        }
    }
}
