//! Functions of another kind.

use gristmill_shared::kernel;

#[kernel]
async fn asynchronous(n: u64) -> u64 {
    n
}

#[kernel]
fn generic<T>(n: T) -> T {
    n
}

#[kernel]
fn lifetime<'a>(n: u64) -> u64 {
    n
}

#[kernel]
fn clause(n: u64) -> u64
where
    u64: Copy,
{
    n
}

#[kernel]
unsafe fn dangerous(n: u64) -> u64 {
    n
}

#[kernel]
extern "C" fn foreign(n: u64) -> u64 {
    n
}

struct Adder(u64);

impl Adder {
    #[kernel]
    fn method(&self, n: u64) -> u64 {
        self.0 + n
    }
}

#[kernel]
fn never() -> ! {
    loop {}
}

fn main() {}
