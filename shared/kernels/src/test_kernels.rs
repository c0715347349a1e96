//! Kernels that misbehave on purpose, for tests of what a worker does about it, and others that only tests need.
//!
//! The stock worker offers them only with `--test-kernels`: never where others can submit tasks.

mod crashing;
mod failing;
mod overrunning;
mod sharing;
mod spinning;

use gristmill_shared::{Kernels, kernels};

pub use crashing::crash;
pub use failing::fail;
pub use overrunning::overrun;
pub use sharing::{large, lookup, sum_shared};
pub use spinning::spin;

/// The kernels behind `--test-kernels`.
pub fn for_tests() -> Kernels {
    kernels![crash, fail, large, lookup, overrun, spin, sum_shared]
}
