//! The worker of Gristmill: supervisor, agent and forked consumers.
//!
//! A worker program is its kernels and one call:
//!
//! ```ignore
//! use gristmill_worker::{kernel, kernels};
//!
//! #[kernel]
//! fn sum_sqrt(n: u64) -> f64 { (0..n).map(|i| (i as f64).sqrt()).sum() }
//!
//! fn main() -> std::process::ExitCode { gristmill_worker::main(kernels![sum_sqrt]) }
//! ```
//!
//! The supervisor (`supervisor`) forks and watches. Consumers (`consumer`) run tasks, the agent
//! (`agent`) takes back what dead ones held. They share slots of memory (`slot`) and pipes (`control`).

mod agent;
mod args;
mod clock;
mod config;
mod consumer;
mod control;
mod descriptors;
mod exec;
mod jitter;
mod loading;
mod logging;
mod memory;
mod note;
mod process;
mod roles;
mod slot;
mod supervisor;
#[cfg(feature = "testing")]
pub mod testing;
mod worker;

pub use gristmill_shared as shared;
pub use gristmill_shared::{Bytes, KernelError, Kernels, TaskContext, kernel, kernels, remote_kernel};
pub use loading::{Keep, Loaded};
pub use worker::{Worker, main};
