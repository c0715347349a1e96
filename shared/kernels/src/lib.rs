//! The stock kernels: small, typed, and known to be right.
//!
//! They serve first steps, measurements and tests, and show what a kernel looks like. The stock
//! worker offers [`all`] of them; with `--test-kernels` also those that misbehave on purpose
//! ([`test_kernels`]).

mod echoing;
mod monte_carlo;
mod roots;
mod sleeping;
mod squares;
#[cfg(unix)]
pub mod test_kernels;
mod value;
mod words;

use gristmill_shared::{Kernels, kernels};

pub use echoing::echo;
pub use monte_carlo::{Hits, SAMPLES_MAX, monte_carlo_pi};
pub use roots::sum_sqrt;
pub use sleeping::{SLEEP_SECONDS_MAX, sleep};
pub use squares::square;
pub use value::{DEPTH_MAX, VALUES_MAX, Value};
pub use words::{DIFFERENT_WORDS_MAX, TEXT_BYTES_MAX, word_count};

/// The kernels that the stock worker offers.
pub fn all() -> Kernels {
    kernels![echo, monte_carlo_pi, sleep, square, sum_sqrt, word_count]
}
