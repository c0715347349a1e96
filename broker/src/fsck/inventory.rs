//! All keys of the namespace, read in bounded pages.

use std::collections::{BTreeSet, HashSet};

use gristmill_shared::{BatchId, ConsumerId, QueueName};
use redis::aio::ConnectionLike;

use super::names::KeyName;
use crate::Broker;
use crate::error::BrokerError;

const PAGE: usize = 500;

/// A key of ours, of the type that it should have.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: KeyName,
    pub(super) key: String,
    /// -1: none.
    pub(super) ttl_ms: i64,
}

/// What SCAN found. Other keys may have come and gone meanwhile.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) items: Vec<Item>,
    pub(super) unknown: Vec<String>,
    /// Key, the type that it should have, the type that it has.
    pub(super) wrong: Vec<(String, &'static str, String)>,
}

impl Inventory {
    /// Stops once it has seen `most` keys.
    pub(super) async fn read<C: ConnectionLike>(
        broker: &Broker,
        conn: &mut C,
        most: usize,
    ) -> Result<Self, BrokerError> {
        let pattern = format!("{}*", broker.keys().prefix());
        let (mut inventory, mut seen, mut cursor) = (Self::default(), HashSet::new(), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE);
            let (next, page): (u64, Vec<Vec<u8>>) = scan.query_async(conn).await?;
            // A key may come twice while Redis grows or shrinks its table.
            let fresh: Vec<_> = page.into_iter().filter(|key| seen.insert(key.clone())).collect();
            inventory.add(broker, conn, fresh).await?;
            cursor = next;
            if cursor == 0 || seen.len() >= most {
                return Ok(inventory);
            }
        }
    }

    async fn add<C: ConnectionLike>(
        &mut self,
        broker: &Broker,
        conn: &mut C,
        keys: Vec<Vec<u8>>,
    ) -> Result<(), BrokerError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        for key in &keys {
            pipe.cmd("TYPE").arg(key).cmd("PTTL").arg(key);
        }
        let answers: Vec<redis::Value> = pipe.query_async(conn).await?;
        for (key, answer) in keys.into_iter().zip(answers.chunks(2)) {
            let kind: String = redis::from_redis_value(answer[0].clone()).unwrap_or_default();
            let ttl_ms = redis::from_redis_value(answer[1].clone()).unwrap_or(-2);
            // It has gone since it was listed.
            if kind == "none" || ttl_ms == -2 {
                continue;
            }
            let key = String::from_utf8_lossy(&key).into_owned();
            match KeyName::parse(key.strip_prefix(broker.keys().prefix()).unwrap_or_default()) {
                Some(name) if name.kind() == kind => self.items.push(Item { name, key, ttl_ms }),
                Some(name) => self.wrong.push((key, name.kind(), kind)),
                None => self.unknown.push(key),
            }
        }
        Ok(())
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.items.len() + self.unknown.len() + self.wrong.len()
    }

    pub(super) fn queues(&self) -> BTreeSet<QueueName> {
        self.items.iter().filter_map(|item| item.name.queue().cloned()).collect()
    }

    pub(super) fn batches(&self) -> Vec<BatchId> {
        let id = |item: &Item| if let KeyName::Batch(id) = item.name { Some(id) } else { None };
        self.items.iter().filter_map(id).collect()
    }

    pub(super) fn holders(&self) -> Vec<ConsumerId> {
        let id = |item: &Item| if let KeyName::Inflight(id) = item.name { Some(id) } else { None };
        self.items.iter().filter_map(id).collect()
    }

    pub(super) fn parked(&self) -> impl Iterator<Item = (&QueueName, &str)> {
        self.items.iter().filter_map(|item| match &item.name {
            KeyName::Parked(queue) => Some((queue, item.key.as_str())),
            _ => None,
        })
    }

    /// Whether a key of ours is there, of its type.
    pub(super) fn has(&self, name: &KeyName) -> bool {
        self.items.iter().any(|item| item.name == *name)
    }

    /// Whether a key has another type than it should.
    pub(super) fn is_wrong(&self, key: &str) -> bool {
        self.wrong.iter().any(|(wrong, ..)| wrong == key)
    }
}
