//! The contract of Gristmill: what producers, broker and workers agree on.
//!
//! Words, keys and bytes are specified in `docs/protocol.md`; this crate is their Rust form. Without
//! features it knows nothing of Redis: ids, names, the message, the outcome, the keys, limits and
//! defaults, and what a kernel is. Feature `redis` adds the one connection module, feature
//! `results` the read-only results collector.

pub mod certificate;
pub mod codec;
pub mod context;
pub mod dead_letter;
pub mod defaults;
pub mod duration;
pub mod events;
pub mod exec;
pub mod failure;
pub mod history;
pub mod ids;
pub mod intervals;
pub mod kernel;
mod kernel_error;
pub mod keys;
pub mod message;
pub mod names;
pub mod outcome;
pub mod shared_input;
pub mod size;
pub mod state;
pub mod suspect;
pub mod task_time;

#[cfg(feature = "redis")]
pub mod connection;
#[cfg(feature = "results")]
pub mod results;

pub use certificate::{Certificate, DeathCause};
pub use context::{Surroundings, TaskContext};
pub use failure::Failure;
pub use ids::{BatchId, ConsumerId, TaskId};
pub use kernel::{Bytes, Kernel, KernelError, KernelOptions, Kernels, RegisteredKernel, Run};
pub use keys::Keys;
pub use message::{Body, Header, Lane, Message, TaskOptions};
pub use names::{KernelName, Namespace, QueueName};
pub use outcome::{Outcome, OutcomeKind};
pub use task_time::TaskTime;

pub use gristmill_macros::{kernel, kernels, remote_kernel};
/// Re-exported so that the code which the macros expand to needs no dependency of the user's own.
pub use {schemars, serde, serde_bytes};
