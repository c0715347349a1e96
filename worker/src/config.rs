//! What a worker was told to do, checked.

use std::time::Duration;

use gristmill_shared::connection::Endpoint;
use gristmill_shared::{Namespace, QueueName};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
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
    /// The worker's id: `<host>-<pid>-<random>`.
    pub worker: String,
    /// The host, as it calls itself.
    pub host: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether the kernels for tests are on offer.
    pub test_kernels: bool,
}
