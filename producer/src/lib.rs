//! The client library of Gristmill, a distributed task queue for CPU-bound work.
//!
//! ```no_run
//! # async fn example() -> Result<(), gristmill::TaskError> {
//! use gristmill::Client;
//!
//! gristmill::remote_kernel! { fn sum_sqrt(n: u64) -> f64 = "sum_sqrt"; }
//!
//! let client = Client::connect("redis://127.0.0.1").await?;
//! let one: f64 = client.submit(sum_sqrt, 1_000_000).await?.await?;
//! let all: Vec<f64> = client.map(sum_sqrt, vec![1_000_000; 4]).await?.collect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # One task
//!
//! [`Client::submit`] sends a task and gives a [`Handle`]: await it, or ask it for [`result`](Handle::result),
//! [`result_timeout`](Handle::result_timeout), [`status`](Handle::status), [`progress`](Handle::progress), or to
//! [`cancel`](Handle::cancel). A kernel of several parameters takes a tuple. Several handles, also of different kernels, are
//! waited for by [`as_completed`], [`wait`], [`gather`] and [`try_gather`]:
//!
//! ```no_run
//! # async fn example(client: gristmill::Client) -> Result<(), gristmill::TaskError> {
//! # gristmill::remote_kernel! { fn sum_sqrt(n: u64) -> f64 = "sum_sqrt"; }
//! use gristmill::Until;
//! use std::time::Duration;
//!
//! let handles = [client.submit(sum_sqrt, 1_000).await?, client.submit(sum_sqrt, 1_000_000).await?];
//! let waited = gristmill::wait(handles, Until::First, Some(Duration::from_secs(5))).await;
//! for handle in waited.not_done {
//!     handle.cancel().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Many tasks
//!
//! [`Client::map`] streams any number of items through a bounded window and gives a [`MapHandle`], which is a stream of
//! results: in order, or as they come ([`Client::map_unordered`]). Items may come from a stream ([`Client::map_stream`]) or
//! from a source that may fail ([`Client::try_map`]). [`collect`](MapHandle::collect) stops at the first failure,
//! [`collect_all`](MapHandle::collect_all) keeps failures among the results, [`fold`](Unordered::fold) merges results as they
//! come. Dropping the handle cancels what has not started, or whatever [`OnDrop`] says.
//!
//! # Later and elsewhere
//!
//! [`TaskId`] and [`BatchId`] can be printed, parsed and stored. [`Client::handle`] and [`Client::batch`] open a task or a
//! batch by it, in any program that reaches the same Redis. An id that nobody knows is an error, and never waited for.
//!
//! # Options
//!
//! [`SubmitOptions`]: queue, lane, retries, limits, delay and more; for a client ([`ClientBuilder::defaults`]), a kernel
//! ([`ClientBuilder::kernel_defaults`]), a part of the program ([`Client::with`]), or one call (`submit_with`,
//! `map_with`). [`shared`](SubmitOptions::shared) stores what all tasks of a batch need once, and each consumer fetches it
//! once:
//!
//! ```no_run
//! # async fn example(client: gristmill::Client) -> Result<(), Box<dyn std::error::Error>> {
//! # gristmill::remote_kernel! { fn sum_sqrt(n: u64) -> f64 = "sum_sqrt"; }
//! # gristmill::remote_kernel! { fn lookup(key: String) -> i64 = "shared.lookup"; }
//! # let prices = std::collections::BTreeMap::from([("apple", 3), ("pear", 4)]);
//! use gristmill::{Lane, SubmitOptions};
//! use std::time::Duration;
//!
//! let soon = SubmitOptions::new().lane(Lane::High).retries(2).time_limit(Duration::from_secs(60));
//! let sum = client.submit_with(sum_sqrt, 1_000_000, &soon).await?;
//!
//! let shop = client.with(SubmitOptions::new().queue("shop".parse()?).shared(&prices));
//! let found = shop.map(lookup, ["apple".to_owned(), "pear".to_owned()]).await?.collect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! [`ClientError`]: the client could not do its part. [`TaskError`]: there is no result, because of that, or because of how
//! the task ended ([`TaskFailure`]). Submitting is exactly-once under lost connections: a call whose answer was lost is
//! repeated identically.
//!
//! ```no_run
//! # async fn example(client: gristmill::Client) -> Result<(), gristmill::TaskError> {
//! # gristmill::remote_kernel! { fn sum_sqrt(n: u64) -> f64 = "sum_sqrt"; }
//! use gristmill::{OutcomeKind, TaskError};
//!
//! match client.submit(sum_sqrt, 1_000_000).await?.result().await {
//!     Ok(sum) => println!("{sum}"),
//!     Err(TaskError::Ended(failure)) if failure.kind == OutcomeKind::TimedOut => println!("too slow: {failure}"),
//!     Err(TaskError::Ended(failure)) => println!("{}, at attempt {}", failure.message, failure.attempt),
//!     Err(other) => return Err(other),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Without async
//!
//! [`blocking`] has the same verbs for scripts and threads:
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # gristmill::remote_kernel! { fn sum_sqrt(n: u64) -> f64 = "sum_sqrt"; }
//! let client = gristmill::blocking::Client::connect("redis://127.0.0.1")?;
//! let one: f64 = client.submit(sum_sqrt, 1_000_000)?.result()?;
//! for sum in client.map(sum_sqrt, (0..100).map(|n| n * 1000))? {
//!     println!("{}", sum?);
//! }
//! # Ok(())
//! # }
//! ```

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
pub use in_order::{Endings, OrderedResults, PresentEndings};
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
