//! Looking, without changing anything.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_shared::{BatchId, KernelName, Lane, OutcomeKind, QueueName};
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::enqueue::{LABEL_PREFIX, label_field};
use crate::error::BrokerError;

type Fields = BTreeMap<String, String>;

/// What [`BatchRecord`] is read from, besides the counters of the outcomes.
const BATCH_FIELDS: [&str; 15] = [
    "kernel",
    "queue",
    "state",
    "single",
    "next_seq",
    "tasks",
    "total",
    "created_at_ms",
    "finished_at_ms",
    "cancelled_at_ms",
    "revived_at_ms",
    "abandoned",
    "stopped",
    "result_bytes_max",
    "key",
];

/// A queue as its counters show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStats {
    /// Its name.
    pub name: QueueName,
    /// Messages by lane: high, normal, low. A chunk counts as one.
    pub depth_messages: [u64; 3],
    /// Tasks waiting in the lanes.
    pub ready_tasks: u64,
    /// Tasks claimed and not settled.
    pub running_tasks: u64,
    /// Tasks that wait for their time.
    pub scheduled_tasks: u64,
    /// Tasks that wait for a worker which knows their kernel.
    pub parked_tasks: u64,
    /// Dead letters.
    pub dead_tasks: u64,
    /// Whether claims skip it.
    pub paused: bool,
    /// The most messages that each lane, and the scheduled set, may hold; none: the default.
    pub depth_limit: Option<u64>,
    /// Everything counted since the queue exists: `enqueued`, and each outcome.
    pub totals: BTreeMap<String, u64>,
}

/// The state of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchState {
    /// More tasks may come.
    Open,
    /// All tasks are known.
    Sealed,
    /// All tasks have ended.
    Finished,
}

/// A batch as its hash shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRecord {
    /// Its kernel.
    pub kernel: String,
    /// Its queue.
    pub queue: String,
    /// Its state.
    pub state: BatchState,
    /// Whether it is one task.
    pub single: bool,
    /// Number of the next enqueue call.
    pub next_seq: u64,
    /// Tasks so far.
    pub tasks: u64,
    /// Tasks, once sealed.
    pub total: Option<u64>,
    /// Outcomes by kind, in the order of [`OutcomeKind::ALL`].
    pub counts: [u64; 8],
    /// When its first call came, epoch ms.
    pub created_at_ms: u64,
    /// When its last task ended, epoch ms.
    pub finished_at_ms: Option<u64>,
    /// When it was cancelled, epoch ms.
    pub cancelled_at_ms: Option<u64>,
    /// When a dead letter of it was revived last, epoch ms.
    pub revived_at_ms: Option<u64>,
    /// Whether it was sealed because its client disappeared.
    pub abandoned: bool,
    /// Whether nothing more of it is started because its results take too much room.
    pub stopped: bool,
    /// Bytes that its results may take.
    pub result_bytes_max: Option<u64>,
    /// The idempotency key that it was submitted with.
    pub key: Option<String>,
    /// What its submitter wrote on it, by name.
    pub labels: BTreeMap<String, String>,
}

impl BatchRecord {
    /// Tasks that have an outcome.
    pub fn ended(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Outcomes of one kind.
    pub fn count(&self, kind: OutcomeKind) -> u64 {
        self.counts[usize::from(kind.code())]
    }
}

/// A kernel that some worker has offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRecord {
    /// Its name.
    pub name: KernelName,
    /// JSON: `doc`, `args_schema`, `options`.
    pub info: String,
    /// When a worker offered it last, epoch ms.
    pub last_seen_ms: u64,
}

/// What is known of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Version of the Redis protocol that it implements.
    pub version: (u32, u32, u32),
    /// Memory in use, bytes.
    pub used_memory: u64,
    /// Its limit, bytes; none if unlimited.
    pub maxmemory: Option<u64>,
}

impl ServerInfo {
    /// The oldest version that has what the scripts need.
    pub const FLOOR: (u32, u32, u32) = (6, 2, 0);

    /// Whether the server is new enough.
    pub fn is_supported(&self) -> bool {
        self.version >= Self::FLOOR
    }
}

fn number(fields: &Fields, name: &str) -> u64 {
    optional(fields, name).unwrap_or(0)
}

/// Counters that a foreign hand pushed below zero read as zero.
fn optional(fields: &Fields, name: &str) -> Option<u64> {
    fields.get(name).and_then(|text| text.parse().ok())
}

impl Broker {
    /// The time by Redis, epoch ms.
    pub async fn redis_time_ms<C: ConnectionLike>(&self, conn: &mut C) -> Result<u64, BrokerError> {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(conn).await?;
        Ok(seconds * 1000 + micros / 1000)
    }

    /// All known queues, by name.
    pub async fn queue_names<C: ConnectionLike>(&self, conn: &mut C) -> Result<Vec<QueueName>, BrokerError> {
        let names: Vec<String> = redis::cmd("SMEMBERS").arg(self.keys.queues()).query_async(conn).await?;
        let mut names: Vec<_> = names.into_iter().flat_map(QueueName::new).collect();
        names.sort();
        Ok(names)
    }

    /// Counters and depths of a queue; zeros for one that nobody used.
    pub async fn queue_stats<C: ConnectionLike>(
        &self,
        conn: &mut C,
        queue: &QueueName,
    ) -> Result<QueueStats, BrokerError> {
        let mut pipe = redis::pipe();
        pipe.atomic().hgetall(self.keys.queue(queue)).sismember(self.keys.paused(), queue.as_str());
        for lane in Lane::ALL {
            pipe.llen(self.keys.ready(queue, lane));
        }
        let (fields, paused, high, normal, low): (Fields, bool, u64, u64, u64) = pipe.query_async(conn).await?;
        let total = |(name, value): (&String, &String)| {
            Some((name.strip_suffix("_total")?.to_owned(), value.parse::<u64>().ok()?))
        };
        Ok(QueueStats {
            name: queue.clone(),
            depth_messages: [high, normal, low],
            ready_tasks: number(&fields, "ready_tasks"),
            running_tasks: number(&fields, "running_tasks"),
            scheduled_tasks: number(&fields, "scheduled_tasks"),
            parked_tasks: number(&fields, "parked_tasks"),
            dead_tasks: number(&fields, "dead_tasks"),
            paused,
            depth_limit: optional(&fields, "depth_limit"),
            totals: fields.iter().filter_map(total).collect(),
        })
    }

    /// The first messages of a lane after some that are skipped, as they stand there.
    pub async fn queue_head<C: ConnectionLike>(
        &self,
        conn: &mut C,
        queue: &QueueName,
        lane: Lane,
        skip: usize,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, BrokerError> {
        // From 0 to -1 would be the whole lane.
        if count == 0 {
            return Ok(Vec::new());
        }
        let end = skip.saturating_add(count - 1);
        Ok(redis::cmd("LRANGE").arg(self.keys.ready(queue, lane)).arg(skip).arg(end).query_async(conn).await?)
    }

    /// A batch; none if it never was, or is gone.
    pub async fn batch_record<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
    ) -> Result<Option<BatchRecord>, BrokerError> {
        let (fields, names) = self.batch_fields(conn, batch).await?;
        let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let state = match fields.get("state").map(String::as_str) {
            Some("open") => BatchState::Open,
            Some("sealed") => BatchState::Sealed,
            Some("finished") => BatchState::Finished,
            _ => return Ok(None),
        };
        let labels = self.labels(conn, batch, &names).await?;
        Ok(Some(BatchRecord {
            kernel: text("kernel"),
            queue: text("queue"),
            state,
            single: text("single") == "1",
            next_seq: number(&fields, "next_seq"),
            tasks: number(&fields, "tasks"),
            total: optional(&fields, "total"),
            counts: OutcomeKind::ALL.map(|kind| number(&fields, kind.as_str())),
            created_at_ms: number(&fields, "created_at_ms"),
            finished_at_ms: optional(&fields, "finished_at_ms"),
            cancelled_at_ms: optional(&fields, "cancelled_at_ms"),
            revived_at_ms: optional(&fields, "revived_at_ms"),
            abandoned: text("abandoned") == "1",
            stopped: fields.contains_key("stopped"),
            result_bytes_max: optional(&fields, "result_bytes_max"),
            key: fields.get("key").cloned(),
            labels,
        }))
    }

    /// The readable fields, by name, and the names of all fields: that of a batch of one also holds its outcome, which is
    /// binary and may be large.
    async fn batch_fields<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
    ) -> Result<(Fields, Vec<String>), BrokerError> {
        let names: Vec<&str> = BATCH_FIELDS.into_iter().chain(OutcomeKind::ALL.map(OutcomeKind::as_str)).collect();
        let key = self.keys.batch(batch);
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(&key).arg(&names).cmd("HKEYS").arg(&key);
        let (values, all): (Vec<Option<String>>, Vec<String>) = pipe.query_async(conn).await?;
        let fields = names.into_iter().zip(values).filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Ok((fields.collect(), all))
    }

    /// The labels among the fields of a batch.
    async fn labels<C: ConnectionLike>(
        &self,
        conn: &mut C,
        batch: BatchId,
        fields: &[String],
    ) -> Result<Fields, BrokerError> {
        let names: Vec<&str> = fields.iter().filter_map(|field| field.strip_prefix(LABEL_PREFIX)).collect();
        if names.is_empty() {
            return Ok(Fields::new());
        }
        let fields: Vec<String> = names.iter().map(|name| label_field(name)).collect();
        let values: Vec<Option<String>> =
            redis::cmd("HMGET").arg(self.keys.batch(batch)).arg(&fields).query_async(conn).await?;
        Ok(names.into_iter().zip(values).filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }

    /// Kernels that workers offer or offered within a week, by name.
    pub async fn kernels<C: ConnectionLike>(&self, conn: &mut C) -> Result<Vec<KernelRecord>, BrokerError> {
        let fields: Fields = redis::cmd("HGETALL").arg(self.keys.kernels()).query_async(conn).await?;
        let record = |(name, value): (String, String)| {
            let (seen, info) = value.split_once(' ')?;
            let (name, last_seen_ms) = (KernelName::new(name).ok()?, seen.parse().ok()?);
            Some(KernelRecord { name, info: info.to_owned(), last_seen_ms })
        };
        Ok(fields.into_iter().filter_map(record).collect())
    }

    /// What living workers publish of themselves: id and fields. Found through the leases of their consumers,
    /// so that looking costs nothing for the keys of others.
    pub async fn workers<C: ConnectionLike>(&self, conn: &mut C) -> Result<Vec<(String, Fields)>, BrokerError> {
        let leases: Vec<String> = redis::cmd("ZRANGE").arg(self.keys.leases()).arg(0).arg(-1).query_async(conn).await?;
        let mut pipe = redis::pipe();
        for consumer in leases.iter().filter_map(|id| id.parse().ok()) {
            pipe.hget(self.keys.consumer(consumer), "worker");
        }
        // An empty pipeline is an error, not an empty answer.
        if pipe.is_empty() {
            return Ok(Vec::new());
        }
        let owners: Vec<Option<String>> = pipe.query_async(conn).await?;
        let ids: BTreeSet<String> = owners.into_iter().flatten().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for id in &ids {
            pipe.hgetall(self.keys.worker(id));
        }
        let records: Vec<Fields> = pipe.query_async(conn).await?;
        Ok(ids.into_iter().zip(records).filter(|(_, fields)| !fields.is_empty()).collect())
    }

    /// Version and memory of the server.
    pub async fn server_info<C: ConnectionLike>(&self, conn: &mut C) -> Result<ServerInfo, BrokerError> {
        let text: String = redis::cmd("INFO").query_async(conn).await?;
        let fields: Fields = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let version = fields.get("redis_version").map(String::as_str).unwrap_or("0");
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        let mut part = || parts.next().unwrap_or(0);
        Ok(ServerInfo {
            version: (part(), part(), part()),
            used_memory: number(&fields, "used_memory"),
            maxmemory: optional(&fields, "maxmemory").filter(|&bytes| bytes > 0),
        })
    }
}
