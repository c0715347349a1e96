//! Where messages can stand.

use std::collections::BTreeSet;

use gristmill_shared::{ConsumerId, KernelName, Keys, Lane, QueueName};
use redis::aio::ConnectionLike;

use super::inventory::Inventory;
use super::names::KeyName;
use crate::Broker;
use crate::error::BrokerError;

/// The counters of a queue that count messages which stand somewhere.
pub(super) const COUNTERS: [&str; 4] = ["ready_tasks", "running_tasks", "scheduled_tasks", "parked_tasks"];
const READY: usize = 0;
const RUNNING: usize = 1;
const SCHEDULED: usize = 2;
const PARKED: usize = 3;

/// How a key holds messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    List,
    Zset,
    /// The hash of suspects.
    Suspects,
}

/// A key in which messages stand.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) shape: Shape,
    /// The queue of which all its messages are, if it is of one.
    pub(super) queue: Option<QueueName>,
    /// Which of [`COUNTERS`] counts them.
    pub(super) counter: usize,
}

/// All of them, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) all: Vec<Place>,
    pub(super) queues: BTreeSet<QueueName>,
    pub(super) holders: BTreeSet<ConsumerId>,
    /// Parked lists are not listed anywhere: what was seen once, and what may be there.
    parked: BTreeSet<(QueueName, String)>,
}

impl Places {
    /// Adds what the inventory and the registers name; what is known already stays.
    pub(super) async fn learn<C: ConnectionLike>(
        &mut self,
        broker: &Broker,
        conn: &mut C,
        inventory: &Inventory,
    ) -> Result<(), BrokerError> {
        let keys = broker.keys();
        self.queues.extend(inventory.queues());
        if !inventory.is_wrong(&keys.queues()) {
            self.queues.extend(broker.queue_names(conn).await?);
        }
        self.holders = inventory.holders().into_iter().collect();
        if !inventory.is_wrong(&keys.leases()) {
            let leases: Vec<Vec<u8>> = redis::cmd("ZRANGE").arg(keys.leases()).arg(0).arg(-1).query_async(conn).await?;
            self.holders
                .extend(leases.iter().filter_map(|id| std::str::from_utf8(id).ok()?.parse::<ConsumerId>().ok()));
        }
        self.parked.extend(inventory.parked().map(|(queue, key)| (queue.clone(), key.to_owned())));
        if !inventory.is_wrong(&keys.kernels()) {
            let kernels: Vec<String> = redis::cmd("HKEYS").arg(keys.kernels()).query_async(conn).await?;
            let kernels: Vec<_> = kernels.into_iter().flat_map(KernelName::new).collect();
            let list = |queue: &QueueName, kernel| (queue.clone(), keys.parked_kernel(queue, kernel));
            let lists = self.queues.iter().flat_map(|queue| kernels.iter().map(move |kernel| list(queue, kernel)));
            self.parked.extend(lists.collect::<Vec<_>>());
        }
        self.all = self.keys(keys);
        self.all.retain(|place| !inventory.is_wrong(&place.key));
        if inventory.has(&KeyName::Suspects) {
            let key = keys.suspects();
            self.all.push(Place { key, shape: Shape::Suspects, queue: None, counter: RUNNING });
        }
        Ok(())
    }

    fn keys(&self, keys: &Keys) -> Vec<Place> {
        let place =
            |key, shape, queue: Option<&QueueName>, counter| Place { key, shape, queue: queue.cloned(), counter };
        let mut all = Vec::new();
        for queue in &self.queues {
            all.extend(Lane::ALL.map(|lane| place(keys.ready(queue, lane), Shape::List, Some(queue), READY)));
            all.push(place(keys.scheduled(queue), Shape::Zset, Some(queue), SCHEDULED));
        }
        let parked = |(queue, key): &(QueueName, String)| place(key.clone(), Shape::List, Some(queue), PARKED);
        all.extend(self.parked.iter().map(parked));
        all.extend(self.holders.iter().map(|id| place(keys.inflight(*id), Shape::List, None, RUNNING)));
        all
    }
}
