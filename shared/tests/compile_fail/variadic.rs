//! The compiler has its own word on variadics, too.

use gristmill_shared::kernel;

#[kernel]
unsafe extern "C" fn variadic(n: u64, _rest: ...) -> u64 {
    n
}

fn main() {}
