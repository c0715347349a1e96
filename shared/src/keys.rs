//! Every key of a deployment. No key is built anywhere else, and none inside Lua.

use crate::defaults::RESULTS_PER_BUCKET;
use crate::ids::{BatchId, ConsumerId};
use crate::message::Lane;
use crate::names::{KernelName, Namespace, QueueName};

/// Builds the keys of one deployment: all carry its hash tag, so that every script is single-slot.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// The keys under `{namespace}`.
    pub fn new(namespace: &Namespace) -> Self {
        Self { prefix: format!("{{{namespace}}}:") }
    }

    fn key(&self, rest: impl std::fmt::Display) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// What all keys of the deployment begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Never exists. Scripts delete it as their first write, which Redis allows at `maxmemory`.
    pub fn none(&self) -> String {
        self.key("none")
    }

    /// list: ready messages of one lane; its length is the depth in messages.
    pub fn ready(&self, queue: &QueueName, lane: Lane) -> String {
        match lane {
            Lane::High => self.key(format_args!("ready:{queue}:high")),
            Lane::Normal => self.key(format_args!("ready:{queue}")),
            Lane::Low => self.key(format_args!("ready:{queue}:low")),
        }
    }

    /// hash: the counters of a queue, in tasks.
    pub fn queue(&self, queue: &QueueName) -> String {
        self.key(format_args!("queue:{queue}"))
    }

    /// list, at most one element: wakes idle consumers.
    pub fn doorbell(&self, queue: &QueueName) -> String {
        self.key(format_args!("doorbell:{queue}"))
    }

    /// zset: delayed and retrying messages by due time, ms.
    pub fn scheduled(&self, queue: &QueueName) -> String {
        self.key(format_args!("scheduled:{queue}"))
    }

    /// list: messages whose kernel no worker of those that claimed them knows.
    pub fn parked_kernel(&self, queue: &QueueName, kernel: &KernelName) -> String {
        self.key(format_args!("parked:{queue}:{kernel}"))
    }

    /// list: messages whose body version no worker of those that claimed them knows.
    pub fn parked_version(&self, queue: &QueueName, version: u8) -> String {
        self.key(format_args!("parked:{queue}:v+{version}"))
    }

    /// zset: ids of dead letters by time, ms.
    pub fn dead(&self, queue: &QueueName) -> String {
        self.key(format_args!("dead:{queue}"))
    }

    /// hash: dead letters by task id.
    pub fn dead_records(&self, queue: &QueueName) -> String {
        self.key(format_args!("dead:{queue}:records"))
    }

    /// list: claimed, unsettled messages of a consumer, in order.
    pub fn inflight(&self, consumer: ConsumerId) -> String {
        self.key(format_args!("inflight:{consumer}"))
    }

    /// hash: `op`, `settled`, `worker`; dies with the lease.
    pub fn consumer(&self, consumer: ConsumerId) -> String {
        self.key(format_args!("consumer:{consumer}"))
    }

    /// zset: consumers by the deadline of their lease, ms; no member = fenced.
    pub fn leases(&self) -> String {
        self.key("leases")
    }

    /// zset: batches of several by when to look at them next, ms.
    pub fn batches(&self) -> String {
        self.key("batches")
    }

    /// hash: last tick, grace_until, cancel epoch.
    pub fn clock(&self) -> String {
        self.key("clock")
    }

    /// hash: a batch.
    pub fn batch(&self, batch: BatchId) -> String {
        self.key(format_args!("batch:{batch}"))
    }

    /// hash: the outcomes of runs whose first index lies in bucket `n`.
    pub fn results(&self, batch: BatchId, bucket: u64) -> String {
        self.key(format_args!("results:{batch}:{bucket}"))
    }

    /// The bucket that a run beginning at `first` belongs to.
    pub fn bucket_of(first: u64) -> u64 {
        first / RESULTS_PER_BUCKET
    }

    /// list: `<first> <count>` of each settled run, in order of settling.
    pub fn runs(&self, batch: BatchId) -> String {
        self.key(format_args!("runs:{batch}"))
    }

    /// hash: `<consumer>:<position>` → suspect.
    pub fn suspects(&self) -> String {
        self.key("suspects")
    }

    /// string: one part of a blob.
    pub fn blob(&self, batch: BatchId, name: &str, part: usize) -> String {
        self.key(format_args!("blob:{batch}:{name}:{part}"))
    }

    /// hash with TTL: what a worker publishes of itself.
    pub fn worker(&self, worker: &str) -> String {
        self.key(format_args!("worker:{worker}"))
    }

    /// set: known queues.
    pub fn queues(&self) -> String {
        self.key("queues")
    }

    /// hash: kernels that workers offer.
    pub fn kernels(&self) -> String {
        self.key("kernels")
    }

    /// set: paused queues.
    pub fn paused(&self) -> String {
        self.key("paused")
    }

    /// hash: batch → `*`, or the comma-separated indices of its cancelled tasks.
    pub fn cancelled(&self) -> String {
        self.key("cancelled")
    }

    /// string with TTL: who repairs just now; counters are repaired by what they are off.
    pub fn fsck(&self) -> String {
        self.key("fsck")
    }

    /// string with TTL: the batch that was enqueued with this idempotency key, and a digest of its work.
    pub fn once(&self, key: &str) -> String {
        self.key(format_args!("once:{key}"))
    }

    /// pub/sub channel: hints that something of a batch was settled.
    pub fn done(&self, batch: BatchId) -> String {
        self.key(format_args!("done:{batch}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_look_as_documented() {
        let keys = Keys::new(&Namespace::new("gm").unwrap());
        let queue = QueueName::new("default").unwrap();
        assert_eq!(keys.ready(&queue, Lane::Normal), "{gm}:ready:default");
        assert_eq!(keys.ready(&queue, Lane::High), "{gm}:ready:default:high");
        assert_eq!(keys.parked_version(&queue, 2), "{gm}:parked:default:v+2");
        let batch: BatchId = "01890000-0000-7000-8000-000000000000".parse().unwrap();
        assert_eq!(keys.results(batch, Keys::bucket_of(8192)), format!("{{gm}}:results:{batch}:1"));
    }
}
