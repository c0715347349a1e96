//! What a worker was told to do, checked.

use std::time::Duration;

use gristmill_shared::connection::Endpoint;
use gristmill_shared::state::States;
use gristmill_shared::{Namespace, QueueName};

use crate::loading::Inits;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What consumers may use, and when one makes room for a fresh process. Sizes are in bytes, and do not count
/// what `preload` has loaded, which all share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// What a consumer and the programs of its kernel may hold while a task runs.
    pub memory: Option<u64>,
    /// What this machine, or the cgroup around the worker, has.
    pub machine_memory: Option<u64>,
    /// A consumer that has run so many tasks makes room.
    pub max_tasks: Option<u64>,
    /// A consumer that holds more than this after a task makes room.
    pub max_memory: Option<u64>,
    /// What a consumer keeps of the shared input of batches; the newest may be larger. Counts for none of the above.
    pub shared_cache: u64,
}

/// The settings of a worker; the same in all its processes.
#[derive(Clone)]
pub struct WorkerConfig {
    /// Where Redis is.
    pub endpoint: Endpoint,
    /// The namespace of the deployment.
    pub namespace: Namespace,
    /// Queues to serve, left before right.
    pub queues: Vec<QueueName>,
    /// Number of consumer processes, at least 1.
    pub consumers: usize,
    /// How long a consumer's lease lasts after each renewal.
    pub lease: Duration,
    /// How long a drain lets running tasks finish. The supervisor kills what runs longer.
    pub grace: Duration,
    /// How long to try for a Redis that was never reached.
    pub reach: Duration,
    /// What consumers may use, and when they make room for fresh ones.
    pub limits: Limits,
    /// The worker's id: `<host>-<pid>-<random>`.
    pub worker: String,
    /// The host, as it calls itself.
    pub host: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether the kernels for tests are on offer.
    pub test_kernels: bool,
    /// Whether the worker ends when its stdin does.
    pub end_with_stdin: bool,
    /// What the worker keeps for its kernels.
    pub states: States,
    /// What each consumer adds to that before its first claim.
    pub inits: Inits,
}
