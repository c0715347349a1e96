//! Randomness for delays, so that what failed together does not come back together.

use gristmill_shared::ConsumerId;

/// A number from 0 to 1, without 1, from the random bits of a fresh id.
pub(crate) fn jitter() -> f64 {
    let (_, low) = ConsumerId::new().halves();
    of_bits(low)
}

fn of_bits(bits: u64) -> f64 {
    (bits & 0xffff_ffff) as f64 / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_reaches_one() {
        assert_eq!(of_bits(u64::MAX << 32), 0.0);
        assert!(of_bits(u64::MAX) < 1.0 && of_bits(u64::MAX) > 0.999);
    }
}
