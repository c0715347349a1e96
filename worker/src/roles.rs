//! What the supervisor hands to a child, and what the child's exit code says.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use gristmill_shared::{ConsumerId, Kernels};

use crate::config::WorkerConfig;
use crate::slot::{SlotRef, Slots};

/// The child has done what it was told.
pub const EXIT_OK: u8 = 0;
/// Redis cannot be reached or refuses us. From an agent whose worker never spoke with Redis it ends the worker.
pub const EXIT_REDIS: u8 = 3;
/// A bug of ours.
pub const EXIT_BUG: u8 = 70;

/// What `consumer::run` starts with.
pub struct ConsumerStart {
    /// The worker's settings.
    pub config: Arc<WorkerConfig>,
    /// The kernels on offer.
    pub kernels: Kernels,
    /// The consumer's own slot, reset for it.
    pub slot: SlotRef,
    /// All of the worker's shared memory.
    pub slots: Slots,
    /// Its id, never used before.
    pub consumer: ConsumerId,
    /// Commands from the supervisor (non-blocking); end of file: the supervisor is gone.
    pub control: OwnedFd,
}

/// What `agent::run` starts with.
pub struct AgentStart {
    /// The worker's settings.
    pub config: Arc<WorkerConfig>,
    /// The kernels on offer.
    pub kernels: Kernels,
    /// All of the worker's shared memory.
    pub slots: Slots,
    /// Commands from the supervisor (non-blocking); end of file: the supervisor is gone.
    pub control: OwnedFd,
    /// Reports of deaths (non-blocking), read with `control::DeathReader`.
    pub reports: OwnedFd,
    /// Where the ids of finished reports go (non-blocking), 8 bytes each, big-endian.
    pub acks: OwnedFd,
}
