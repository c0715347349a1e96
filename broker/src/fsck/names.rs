//! What a key of the namespace is, by its name.

use gristmill_shared::{BatchId, ConsumerId, KernelName, Lane, QueueName};

/// A key that Gristmill knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyName {
    Ready(QueueName, Lane),
    Queue(QueueName),
    Doorbell(QueueName),
    Scheduled(QueueName),
    Dead(QueueName),
    DeadRecords(QueueName),
    Parked(QueueName),
    Inflight(ConsumerId),
    Consumer(ConsumerId),
    Batch(BatchId),
    Results(BatchId),
    Runs(BatchId),
    Blob(BatchId),
    Worker,
    /// An idempotency key.
    Once,
    Leases,
    Batches,
    Clock,
    Suspects,
    Queues,
    Kernels,
    Paused,
    Cancelled,
    /// Held by a repair while it is at work.
    Fsck,
}

impl KeyName {
    /// Reads the part of a key behind the namespace; none if no such key exists.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let Some((kind, rest)) = name.split_once(':') else { return Self::parse_sole(name) };
        // Whatever its user has chosen, colons included.
        if kind == "once" {
            return (!rest.is_empty()).then_some(Self::Once);
        }
        let queue = |name: &str| QueueName::new(name).ok();
        let (owner, tail) = match rest.split_once(':') {
            Some((owner, tail)) => (owner, Some(tail)),
            None => (rest, None),
        };
        Some(match (kind, tail) {
            ("ready", None) => Self::Ready(queue(owner)?, Lane::Normal),
            ("ready", Some("high")) => Self::Ready(queue(owner)?, Lane::High),
            ("ready", Some("low")) => Self::Ready(queue(owner)?, Lane::Low),
            ("queue", None) => Self::Queue(queue(owner)?),
            ("doorbell", None) => Self::Doorbell(queue(owner)?),
            ("scheduled", None) => Self::Scheduled(queue(owner)?),
            ("dead", None) => Self::Dead(queue(owner)?),
            ("dead", Some("records")) => Self::DeadRecords(queue(owner)?),
            ("parked", Some(list)) if is_parked_list(list) => Self::Parked(queue(owner)?),
            ("inflight", None) => Self::Inflight(owner.parse().ok()?),
            ("consumer", None) => Self::Consumer(owner.parse().ok()?),
            ("batch", None) => Self::Batch(owner.parse().ok()?),
            ("results", Some(bucket)) if is_number(bucket) => Self::Results(owner.parse().ok()?),
            ("runs", None) => Self::Runs(owner.parse().ok()?),
            ("blob", Some(part)) if is_blob_part(part) => Self::Blob(owner.parse().ok()?),
            ("worker", None) => Self::Worker,
            _ => return None,
        })
    }

    fn parse_sole(name: &str) -> Option<Self> {
        Some(match name {
            "leases" => Self::Leases,
            "batches" => Self::Batches,
            "clock" => Self::Clock,
            "suspects" => Self::Suspects,
            "queues" => Self::Queues,
            "kernels" => Self::Kernels,
            "paused" => Self::Paused,
            "cancelled" => Self::Cancelled,
            "fsck" => Self::Fsck,
            _ => return None,
        })
    }

    /// The type that it has in Redis, as TYPE says it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Ready(..) | Self::Doorbell(_) | Self::Parked(_) | Self::Inflight(_) | Self::Runs(_) => "list",
            Self::Scheduled(_) | Self::Dead(_) | Self::Leases | Self::Batches => "zset",
            Self::Queues | Self::Paused => "set",
            Self::Blob(_) | Self::Once | Self::Fsck => "string",
            _ => "hash",
        }
    }

    /// The queue that it belongs to.
    pub(super) fn queue(&self) -> Option<&QueueName> {
        match self {
            Self::Ready(queue, _)
            | Self::Queue(queue)
            | Self::Doorbell(queue)
            | Self::Scheduled(queue)
            | Self::Dead(queue)
            | Self::DeadRecords(queue)
            | Self::Parked(queue) => Some(queue),
            _ => None,
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

fn is_parked_list(list: &str) -> bool {
    list.strip_prefix("v+").is_some_and(|version| version.parse::<u8>().is_ok()) || KernelName::new(list).is_ok()
}

fn is_blob_part(rest: &str) -> bool {
    rest.split_once(':').is_some_and(|(name, part)| !name.is_empty() && is_number(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_shared::{Keys, Namespace};

    #[test]
    fn every_key_is_known_by_its_name() {
        let keys = Keys::new(&Namespace::new("gm").unwrap());
        let (queue, batch, consumer) = (QueueName::new("q").unwrap(), BatchId::new(), ConsumerId::new());
        let kernel = KernelName::new("image:thumb").unwrap();
        let all = [
            (keys.ready(&queue, Lane::High), KeyName::Ready(queue.clone(), Lane::High)),
            (keys.ready(&queue, Lane::Normal), KeyName::Ready(queue.clone(), Lane::Normal)),
            (keys.queue(&queue), KeyName::Queue(queue.clone())),
            (keys.doorbell(&queue), KeyName::Doorbell(queue.clone())),
            (keys.scheduled(&queue), KeyName::Scheduled(queue.clone())),
            (keys.parked_kernel(&queue, &kernel), KeyName::Parked(queue.clone())),
            (keys.parked_version(&queue, 2), KeyName::Parked(queue.clone())),
            (keys.dead(&queue), KeyName::Dead(queue.clone())),
            (keys.dead_records(&queue), KeyName::DeadRecords(queue.clone())),
            (keys.inflight(consumer), KeyName::Inflight(consumer)),
            (keys.consumer(consumer), KeyName::Consumer(consumer)),
            (keys.batch(batch), KeyName::Batch(batch)),
            (keys.results(batch, 3), KeyName::Results(batch)),
            (keys.runs(batch), KeyName::Runs(batch)),
            (keys.blob(batch, "a7", 0), KeyName::Blob(batch)),
            (keys.worker("w"), KeyName::Worker),
            (keys.once("order 17: {a}"), KeyName::Once),
            (keys.leases(), KeyName::Leases),
            (keys.cancelled(), KeyName::Cancelled),
            (keys.fsck(), KeyName::Fsck),
        ];
        for (key, name) in all {
            assert_eq!(KeyName::parse(key.strip_prefix(keys.prefix()).unwrap()), Some(name), "{key}");
        }
        for foreign in ["", "none", "once:", "ready", "ready:A", "ready:q:top", "batch:1", "results:x:1", "queue:q:x"] {
            assert_eq!(KeyName::parse(foreign), None, "{foreign}");
        }
    }
}
