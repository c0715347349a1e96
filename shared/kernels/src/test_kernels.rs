//! Kernels that misbehave on purpose, for tests of what a worker does about it.
//!
//! The stock worker offers them only with `--test-kernels`: never where others can submit tasks.

mod crashing;
mod failing;
mod overrunning;
mod spinning;

use gristmill_shared::{Kernels, kernels};

pub use crashing::crash;
pub use failing::fail;
pub use overrunning::overrun;
pub use spinning::spin;

/// The kernels behind `--test-kernels`.
pub fn for_tests() -> Kernels {
    kernels![crash, fail, overrun, spin]
}
