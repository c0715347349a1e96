//! What the tests of whole processes stand on: a private Redis, real workers, the real command line.
//!
//! Nothing that a test starts outlives it: each of these types ends its processes when it is dropped,
//! by pid, and a worker then looks that none of its processes is left.

pub mod binaries;
pub mod cgroup;
pub mod chunk;
pub mod cli;
pub mod deployed;
pub mod log;
pub mod netns;
pub mod pids;
pub mod proxy;
pub mod redis;
pub mod sentinels;
pub mod wait;
pub mod worker;

pub use chunk::{enqueue_chunk, enqueue_messages};
pub use cli::{Cli, Output, Running};
pub use deployed::DeployedRedis;
pub use log::{Line, Log};
pub use netns::{Machine, Network};
pub use proxy::FaultProxy;
pub use redis::Redis;
pub use sentinels::Sentinels;
pub use wait::{DEADLINE, eventually};
pub use worker::{WorkerOptions, WorkerProcess};

/// The programs of README.md, which must compile as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Those of docs/kernels.md, which also run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/kernels.md")]
struct KernelsPage;
