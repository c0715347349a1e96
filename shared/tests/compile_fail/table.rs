//! What has no place in a worker's table.

use gristmill_shared::{kernels, remote_kernel};

remote_kernel! {
    fn elsewhere(n: u64) -> u64 = "elsewhere";
}

fn function(n: u64) -> u64 {
    n
}

fn main() {
    let _ = kernels![elsewhere];
    let _ = kernels![function];
    let _ = kernels![|n: u64| n];
}
