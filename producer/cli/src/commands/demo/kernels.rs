//! The stock kernels as a producer declares them: by signature, without their bodies.

use std::collections::BTreeMap;

use gristmill::remote_kernel;
use serde::{Deserialize, Serialize};

/// What `monte_carlo_pi` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hits {
    /// Points drawn.
    pub samples: u64,
    /// Those in the quarter circle.
    pub hits: u64,
}

remote_kernel! {
    /// Adds up square roots.
    pub fn sum_sqrt(n: u64) -> f64 = "sum_sqrt";
    /// Multiplies a number by itself.
    pub fn square(n: i64) -> i64 = "square";
    /// Draws random points.
    pub fn monte_carlo_pi(samples: u64, seed: u64) -> Hits = "monte_carlo_pi";
    /// Counts words.
    pub fn word_count(text: String) -> BTreeMap<String, u64> = "text.word_count";
}
