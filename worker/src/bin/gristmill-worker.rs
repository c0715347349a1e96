//! The stock worker: offers the stock kernels, and with `--test-kernels` those for tests.

use std::process::ExitCode;

use gristmill_worker::Worker;

fn main() -> ExitCode {
    Worker::new(gristmill_kernels::all()).test_kernels(gristmill_kernels::test_kernels::for_tests).main()
}
