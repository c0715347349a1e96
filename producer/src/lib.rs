//! The client library of Gristmill, a distributed task queue for CPU-bound work.
//!
//! ```no_run
//! # async fn example() -> Result<(), gristmill::TaskError> {
//! use gristmill::Client;
//!
//! gristmill::remote_kernel! { fn sum_sqrt(n: u64) -> f64 = "sum_sqrt"; }
//!
//! let client = Client::connect("redis://127.0.0.1").await?;
//! let one: f64 = client.submit(sum_sqrt, 1_000_000).await?.result().await?;
//! let all: Vec<f64> = client.map(sum_sqrt, vec![1_000_000; 4]).await?.collect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::submit`] sends one task and gives a [`Handle`]; [`Client::map`] streams many through a bounded
//! window and gives a [`MapHandle`]. Both are exactly-once under lost connections: a call whose answer was
//! lost is repeated identically.

mod batch;
pub mod blocking;
mod builder;
mod calls;
mod client;
mod collect;
mod consumer_line;
mod dead;
mod digest;
mod error;
mod forget;
mod handle;
mod history;
mod in_order;
mod inspect;
mod manage;
mod map;
mod memory;
mod options;
mod pack;
mod pool;
mod results;
mod sender;
mod share;
mod shared_data;
mod status;
mod submit;
mod together;

pub use batch::{BatchHandle, BatchProgress, BatchResults};
pub use builder::ClientBuilder;
pub use client::Client;
pub use consumer_line::ConsumerLine;
pub use dead::{DeadFilter, DeadLetters, DeadTask, Revived};
pub use error::{ClientError, TaskError, TaskFailure};
pub use handle::Handle;
pub use in_order::{Endings, OrderedResults};
pub use inspect::{Progress, WorkerRecord};
pub use map::{MapHandle, Summary, Unordered};
pub use options::{OnDrop, SubmitOptions, WhenFull};
pub use results::Results;
pub use shared_data::SharedData;
pub use status::TaskStatus;
pub use together::{AsCompleted, Until, Waited, as_completed, gather, try_gather, wait};

pub use gristmill_broker::{
    BatchRecord, BatchState, Cancelled, KernelRecord, Located, Managed, Place, Purged, QueueStats, Wish,
};
pub use gristmill_shared as shared;
pub use gristmill_shared::{
    BatchId, Bytes, Certificate, DeathCause, Kernel, KernelError, KernelName, Lane, Namespace, OutcomeKind, QueueName,
    TaskContext, TaskId, kernel, kernels, remote_kernel,
};
