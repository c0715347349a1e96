//! `sum_sqrt`: an example that takes as long as one likes.

use gristmill_shared::kernel;

/// Adds up the square roots of the whole numbers below n.
///
/// √0 + √1 + … + √(n − 1), in this order, in double precision; the relative error stays below
/// n × 10^-16. Takes a few nanoseconds per number and has no upper bound: give the task a time limit
/// where n comes from outside.
#[kernel]
pub fn sum_sqrt(n: u64) -> f64 {
    (0..n).map(|i| (i as f64).sqrt()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_sums() {
        assert_eq!([0, 1, 2].map(*sum_sqrt), [0.0, 0.0, 1.0]);
        assert!((sum_sqrt(5) - (1.0 + 2f64.sqrt() + 3f64.sqrt() + 2.0)).abs() < 1e-12);
    }

    #[test]
    fn a_large_sum_agrees_with_the_euler_maclaurin_formula() {
        // ζ(-1/2)
        const ZETA: f64 = -0.207_886_224_977_354_57;
        for n in [1_000u64, 1_000_000] {
            let x = n as f64;
            let root = x.sqrt();
            let expected = 2.0 / 3.0 * x * root - root / 2.0 + ZETA + 1.0 / (24.0 * root);
            let sum = sum_sqrt(n);
            assert!((sum / expected - 1.0).abs() < 1e-12, "{n}: {sum} is not {expected}");
        }
    }
}
