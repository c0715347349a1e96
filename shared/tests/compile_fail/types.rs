//! Errors that do not convert: the compiler points at the signature.

use gristmill_shared::kernel;

struct Plain;

#[kernel]
fn error(_n: u64) -> Result<u64, Plain> {
    Err(Plain)
}

fn main() {}
