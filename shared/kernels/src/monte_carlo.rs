//! `monte_carlo_pi`: an example whose parts are added up.

use gristmill_shared::{KernelError, kernel};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most samples of one task: about half an hour of one core.
pub const SAMPLES_MAX: u64 = 1_000_000_000_000;

/// How many of the random points lay in the quarter circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hits {
    /// Points drawn.
    pub samples: u64,
    /// Points less than 1 away from the corner of the unit square.
    pub hits: u64,
}

impl Hits {
    /// The estimate of π.
    pub fn pi(&self) -> f64 {
        4.0 * self.hits as f64 / self.samples as f64
    }
}

/// Estimates π with random points.
///
/// Draws `samples` points (1 to 10^12) in the unit square and counts those in the quarter circle;
/// π ≈ 4 × hits / samples, with a standard error of 1.64 / √samples. Hits and samples of several tasks
/// add up, as long as each has a seed of its own. The same seed gives the same hits on every machine.
///
/// The generator is SplitMix64 ("Fast Splittable Pseudorandom Number Generators", OOPSLA 2014); each
/// draw gives both coordinates as multiples of 2^-32, so the count is exact integer arithmetic.
#[kernel]
pub fn monte_carlo_pi(
    /// How many points to draw, 1 to 10^12.
    samples: u64,
    /// Where the random numbers begin.
    seed: u64,
) -> Result<Hits, KernelError> {
    if !(1..=SAMPLES_MAX).contains(&samples) {
        return Err(KernelError::fatal(format!("cannot draw {samples} samples: use 1 to {SAMPLES_MAX}")));
    }
    let mut random = SplitMix64(seed);
    let hits = (0..samples).filter(|_| in_circle(random.next())).count() as u64;
    Ok(Hits { samples, hits })
}

/// Whether x² + y² < 1, where the halves of `draw` are x and y times 2^32.
fn in_circle(draw: u64) -> bool {
    let (x, y) = (draw >> 32, draw & 0xffff_ffff);
    (x * x).checked_add(y * y).is_some()
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // the published test values for this seed
        let mut random = SplitMix64(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!([(); 5].map(|()| random.next()), expected);
    }

    #[test]
    fn the_circle_ends_where_it_should() {
        let point = |x: u64, y: u64| x << 32 | y;
        assert!(in_circle(0));
        assert!(in_circle(point(0xffff_ffff, 0)));
        assert!(in_circle(point(0xffff_ffff, 92_681)));
        assert!(!in_circle(point(0xffff_ffff, 92_682)));
        assert!(!in_circle(u64::MAX));
    }

    #[test]
    fn the_estimate_is_near_pi_and_repeatable() {
        let one = monte_carlo_pi(1_000_000, 42).unwrap();
        assert_eq!(one.samples, 1_000_000);
        assert!((one.pi() - std::f64::consts::PI).abs() < 5.0 * 1.64e-3, "{}", one.pi());
        assert_eq!(monte_carlo_pi(1_000_000, 42), Ok(one));
        assert_ne!(monte_carlo_pi(1_000_000, 43), Ok(one));
    }

    #[test]
    fn absurd_numbers_of_samples_are_refused() {
        for samples in [0, SAMPLES_MAX + 1, u64::MAX] {
            assert!(monte_carlo_pi(samples, 1).unwrap_err().message().contains("use 1 to"), "{samples}");
        }
    }
}
