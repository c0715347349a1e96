//! All messages and some batches as they were at one moment.
//!
//! A little is read by one transaction, which Redis answers within a few milliseconds. Much is read in slices,
//! with WATCH on every key: only if nothing was written to any of them meanwhile is it one moment. Where
//! neither is possible nothing is said, rather than something wrong.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_shared::message::Header;
use gristmill_shared::suspect::{Suspect, message_of};
use gristmill_shared::{BatchId, ConsumerId, QueueName};
use redis::aio::ConnectionLike;
use redis::{Pipeline, Value, from_redis_value};

use super::places::{COUNTERS, Places, Shape};
use super::row::Row;
use super::slices;
use crate::Broker;
use crate::error::BrokerError;

/// What one transaction may read.
pub(super) const MESSAGES_MAX: u64 = 4_000;
const BYTES_MAX: u64 = 4 << 20;
/// Batches in one transaction.
pub(super) const ROWS_MAX: usize = 500;
/// A list that is longer now has grown since it was measured.
const GROWN: u64 = 2 * MESSAGES_MAX;

/// A message that stands somewhere; its place and queue as numbers, since there may be millions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) batch: BatchId,
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) place: u32,
    pub(super) expires_at_ms: u64,
}

/// What could not be read.
#[derive(Debug)]
pub(super) struct Rubbish {
    pub(super) place: usize,
    /// The field, among suspects.
    pub(super) field: Option<Vec<u8>>,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) placed: Vec<Placed>,
    pub(super) rubbish: Vec<Rubbish>,
    /// The counters of each queue as they stand.
    pub(super) counters: BTreeMap<QueueName, [Option<String>; 4]>,
    /// A recount of them.
    pub(super) recount: BTreeMap<QueueName, [i64; 4]>,
    pub(super) rows: BTreeMap<BatchId, Row>,
}

impl Snapshot {
    /// None: there is too much, and it moves; or something appeared that was not known.
    pub(super) async fn take<C: ConnectionLike>(
        broker: &Broker,
        conn: &mut C,
        places: &Places,
        ids: &[BatchId],
    ) -> Result<Option<Self>, BrokerError> {
        if ids.len() <= ROWS_MAX
            && is_small(conn, places).await?
            && let Some(snapshot) = Self::at_once(broker, conn, places, ids).await?
        {
            return Ok(Some(snapshot));
        }
        slices::watched(broker, conn, places, ids).await
    }

    async fn at_once<C: ConnectionLike>(
        broker: &Broker,
        conn: &mut C,
        places: &Places,
        ids: &[BatchId],
    ) -> Result<Option<Self>, BrokerError> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        ask_registers(&mut pipe, broker, places);
        for place in &places.all {
            match place.shape {
                Shape::List => pipe.cmd("LRANGE").arg(&place.key).arg(0).arg(GROWN - 1),
                Shape::Zset => pipe.cmd("ZRANGE").arg(&place.key).arg(0).arg(GROWN - 1),
                Shape::Suspects => pipe.cmd("HGETALL").arg(&place.key),
            };
        }
        for id in ids {
            Row::ask(&mut pipe, broker.keys(), *id);
        }
        let answers: Vec<Value> = pipe.query_async(conn).await?;
        let mut answers = answers.into_iter();
        let mut snapshot = Self::default();
        if !snapshot.read_registers(&mut answers, places)? {
            return Ok(None);
        }
        for (at, place) in places.all.iter().enumerate() {
            let values: Vec<Vec<u8>> = from_redis_value(answers.next().unwrap_or(Value::Nil)).map_err(shape)?;
            if values.len() as u64 >= GROWN {
                return Ok(None);
            }
            match place.shape {
                Shape::Suspects => {
                    values.chunks_exact(2).for_each(|pair| snapshot.add_suspect(places, at, &pair[0], &pair[1]));
                }
                _ => values.into_iter().for_each(|message| snapshot.add(places, at, &message)),
            }
        }
        for id in ids {
            snapshot.rows.insert(*id, Row::read(&mut answers)?);
        }
        Ok(Some(snapshot))
    }

    /// False: there is a queue or a consumer whose keys were not read.
    pub(super) fn read_registers(
        &mut self,
        answers: &mut impl Iterator<Item = Value>,
        places: &Places,
    ) -> Result<bool, BrokerError> {
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let queues: Vec<String> = from_redis_value(next()).map_err(shape)?;
        let leases: Vec<String> = from_redis_value(next()).map_err(shape)?;
        let queues: BTreeSet<_> = queues.into_iter().flat_map(QueueName::new).collect();
        let mut leases = leases.iter().filter_map(|id| id.parse::<ConsumerId>().ok());
        if !queues.is_subset(&places.queues) || !leases.all(|id| places.holders.contains(&id)) {
            return Ok(false);
        }
        for queue in &places.queues {
            self.counters.insert(queue.clone(), from_redis_value(next()).map_err(shape)?);
            self.recount.insert(queue.clone(), [0; 4]);
        }
        Ok(true)
    }

    /// What names another queue than that of its list counts nowhere: a claim buries it.
    pub(super) fn add(&mut self, places: &Places, at: usize, message: &[u8]) {
        let place = &places.all[at];
        let header = Header::parse(message).ok().map(|(header, _)| header);
        let Some(header) = header.filter(|header| place.queue.as_ref().is_none_or(|queue| *queue == header.queue))
        else {
            self.rubbish.push(Rubbish { place: at, field: None, bytes: message.to_vec() });
            return;
        };
        self.place(places, at, &header);
    }

    pub(super) fn add_suspect(&mut self, places: &Places, at: usize, field: &[u8], suspect: &[u8]) {
        if let Ok((header, _)) = message_of(suspect).and_then(Header::parse) {
            self.place(places, at, &header);
        }
        if Suspect::parse(suspect).is_err() {
            self.rubbish.push(Rubbish { place: at, field: Some(field.to_vec()), bytes: suspect.to_vec() });
        }
    }

    fn place(&mut self, places: &Places, at: usize, header: &Header) {
        self.recount.entry(header.queue.clone()).or_default()[places.all[at].counter] += i64::from(header.count);
        self.placed.push(Placed {
            batch: header.batch,
            first: header.first,
            count: header.count,
            place: at as u32,
            expires_at_ms: header.expires_at_ms,
        });
    }
}

/// The registers, and the counters of every queue.
pub(super) fn ask_registers(pipe: &mut Pipeline, broker: &Broker, places: &Places) {
    let keys = broker.keys();
    pipe.cmd("SMEMBERS").arg(keys.queues()).cmd("ZRANGE").arg(keys.leases()).arg(0).arg(-1);
    for queue in &places.queues {
        pipe.cmd("HMGET").arg(keys.queue(queue)).arg(&COUNTERS);
    }
}

pub(super) fn shape(error: redis::ParsingError) -> BrokerError {
    BrokerError::from(redis::RedisError::from(error))
}

/// Whether one transaction may read it all.
async fn is_small<C: ConnectionLike>(conn: &mut C, places: &Places) -> Result<bool, BrokerError> {
    if places.all.is_empty() {
        return Ok(true);
    }
    let mut pipe = redis::pipe();
    for place in &places.all {
        pipe.cmd(slices::length(place.shape)).arg(&place.key);
    }
    let lengths: Vec<u64> = pipe.query_async(conn).await?;
    if lengths.iter().sum::<u64>() > MESSAGES_MAX {
        return Ok(false);
    }
    let filled: Vec<_> = places.all.iter().zip(&lengths).filter(|(_, length)| **length > 0).collect();
    if filled.is_empty() {
        return Ok(true);
    }
    let mut pipe = redis::pipe();
    for (place, _) in &filled {
        pipe.cmd("MEMORY").arg("USAGE").arg(&place.key);
    }
    // Who may not ask this gets the slices.
    let Ok(bytes) = pipe.query_async::<Vec<Option<u64>>>(conn).await else { return Ok(false) };
    Ok(bytes.into_iter().flatten().sum::<u64>() <= BYTES_MAX)
}
