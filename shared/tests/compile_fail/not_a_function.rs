//! What is no function with a body.

use gristmill_shared::kernel;

#[kernel]
struct Square;

#[kernel]
const SQUARE: u64 = 4;

trait Squares {
    #[kernel]
    fn square(n: i64) -> i64;
}

fn main() {}
