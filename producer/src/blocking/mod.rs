//! The same verbs for programs without async: scripts, tests, threads.
//!
//! A client has a runtime of its own in the background, with one thread. Inside of an async runtime every call is the
//! error [`ClientError::InsideRuntime`](crate::ClientError::InsideRuntime): it would stop whatever else runs there.
//!
//! ```no_run
//! use gristmill::blocking::Client;
//!
//! gristmill::remote_kernel! { fn sum_sqrt(n: u64) -> f64 = "sum_sqrt"; }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::connect("redis://127.0.0.1")?;
//!     println!("{}", client.submit(sum_sqrt, 1_000_000)?.result()?);
//!     for sum in client.map(sum_sqrt, (0..100).map(|n| n * 1000))? {
//!         println!("{}", sum?);
//!     }
//!     println!("{} workers", client.wait(client.inner().workers())??.len());
//!     Ok(())
//! }
//! ```
//!
//! A map is an iterator, with [`next_timeout`](MapHandle::next_timeout) for those who cannot wait for long. What has no form
//! of its own here (streams as input, whatever looks at queues, workers and dead letters) is waited
//! for with [`Client::wait`].

mod background;
mod batch;
mod client;
mod handle;
mod map;
mod together;

pub use batch::{BatchHandle, BatchResults};
pub use client::Client;
pub use handle::Handle;
pub use map::{MapHandle, Unordered};
pub use together::{AsCompleted, Waited, as_completed, gather, try_gather, wait};
