//! Declarations of remote kernels.

use gristmill_shared::remote_kernel;

remote_kernel! {
    fn context(ctx: &TaskContext, n: u64) -> u64 = "context";
    fn fallible(n: u64) -> Result<u64, KernelError> = "fallible";
    fn borrowed(text: &str) -> u64 = "borrowed";
    fn name(n: u64) -> u64 = "no spaces";
    async fn asynchronous(n: u64) -> u64 = "asynchronous";
}

remote_kernel! {
    fn nameless(n: u64) -> u64;
}

fn main() {}
