//! Looking at everything at once: what changed, and whether it still adds up.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use gristmill_shared::{BatchId, Message, OutcomeKind};

use crate::fixture::Bench;

/// Every key with the hash of its content, and whether it has a TTL.
pub type Snapshot = BTreeMap<String, (u64, bool)>;

/// Where messages stand.
#[derive(Default)]
struct Census {
    /// `<queue>/<counter>` → tasks.
    tasks: BTreeMap<String, i64>,
    /// Indices of each batch that have no outcome yet.
    live: BTreeMap<BatchId, Vec<u64>>,
}

impl Census {
    fn add(&mut self, counter: &str, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else { return };
        let header = &message.header;
        *self.tasks.entry(format!("{}/{counter}", header.queue)).or_default() += i64::from(header.count);
        self.live.entry(header.batch).or_default().extend(header.indices());
    }
}

impl Bench {
    async fn all_keys(&mut self) -> Vec<String> {
        self.ask(&["KEYS", "*"]).await
    }

    pub async fn snapshot(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::new();
        for key in self.all_keys().await {
            let dump: Option<Vec<u8>> = self.ask(&["DUMP", &key]).await;
            let ttl: i64 = self.ask(&["PTTL", &key]).await;
            let mut hasher = DefaultHasher::new();
            dump.hash(&mut hasher);
            snapshot.insert(key, (hasher.finish(), ttl >= 0));
        }
        snapshot
    }

    /// Demands that counters and places agree, and that every task of every batch stands in exactly one place.
    pub async fn audit(&mut self) {
        let census = self.census().await;
        let queues: Vec<String> = self.ask(&["KEYS", "{gm}:queue:*"]).await;
        let mut counted = BTreeMap::new();
        for key in queues {
            let name = key.trim_start_matches("{gm}:queue:").to_owned();
            let fields: BTreeMap<String, String> = self.ask(&["HGETALL", &key]).await;
            for counter in ["ready_tasks", "running_tasks", "scheduled_tasks", "parked_tasks", "dead_tasks"] {
                let n: i64 = fields.get(counter).map_or(0, |n| n.parse().unwrap());
                if n != 0 {
                    counted.insert(format!("{name}/{counter}"), n);
                }
            }
        }
        assert_eq!(counted, census.tasks, "counters (left) and places (right) differ");
        self.audit_consumers().await;
        for key in self.ask::<Vec<String>>(&["KEYS", "{gm}:batch:*"]).await {
            self.audit_batch(&key, &census).await;
        }
    }

    async fn census(&mut self) -> Census {
        let mut census = Census::default();
        for key in self.all_keys().await {
            let kind = key.trim_start_matches("{gm}:").split(':').next().unwrap_or_default().to_owned();
            let counter = match kind.as_str() {
                "ready" => "ready_tasks",
                "inflight" | "suspects" => "running_tasks",
                "scheduled" => "scheduled_tasks",
                "parked" => "parked_tasks",
                _ => "",
            };
            match kind.as_str() {
                "ready" | "inflight" | "parked" => {
                    for m in self.ask::<Vec<Vec<u8>>>(&["LRANGE", &key, "0", "-1"]).await {
                        census.add(counter, &m);
                    }
                }
                "scheduled" => {
                    for m in self.ask::<Vec<Vec<u8>>>(&["ZRANGE", &key, "0", "-1"]).await {
                        census.add(counter, &m);
                    }
                }
                "suspects" => {
                    for s in self.ask::<Vec<Vec<u8>>>(&["HVALS", &key]).await {
                        let certificate = u32::from_be_bytes(s[8..12].try_into().unwrap()) as usize;
                        census.add(counter, &s[12 + certificate..]);
                    }
                }
                "dead" if !key.ends_with(":records") => self.count_dead(&key, &mut census).await,
                // None, if it fell silent since the keys were listed.
                "doorbell" => assert!(self.ask::<u64>(&["LLEN", &key]).await <= 1, "{key}"),
                _ => {}
            }
        }
        census.tasks.retain(|_, n| *n != 0);
        census
    }

    async fn count_dead(&mut self, key: &str, census: &mut Census) {
        let ids: BTreeSet<String> = self.ask(&["ZRANGE", key, "0", "-1"]).await;
        let records: BTreeSet<String> = self.ask(&["HKEYS", &format!("{key}:records")]).await;
        assert_eq!(ids, records, "{key}: times (left) and records (right) differ");
        census.tasks.insert(format!("{}/dead_tasks", key.trim_start_matches("{gm}:dead:")), ids.len() as i64);
    }

    /// No messages without a lease, no lease without its hash, none of it the other way round.
    async fn audit_consumers(&mut self) {
        let leases: BTreeSet<String> = self.ask(&["ZRANGE", "{gm}:leases", "0", "-1"]).await;
        let ids = |keys: Vec<String>| -> BTreeSet<String> {
            keys.iter().map(|key| key.rsplit(':').next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(ids(self.ask(&["KEYS", "{gm}:consumer:*"]).await), leases, "hashes (left) and leases (right)");
        let holders = ids(self.ask(&["KEYS", "{gm}:inflight:*"]).await);
        assert!(holders.is_subset(&leases), "messages in flight without a lease: {holders:?}");
    }

    async fn audit_batch(&mut self, key: &str, census: &Census) {
        let id: BatchId = key.trim_start_matches("{gm}:batch:").parse().unwrap();
        let fields: BTreeMap<String, Vec<u8>> = self.ask(&["HGETALL", key]).await;
        let fields: BTreeMap<String, String> =
            fields.into_iter().map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())).collect();
        let number = |name: &str| fields.get(name).map_or(0, |n| n.parse::<u64>().unwrap());
        let mut indices = census.live.get(&id).cloned().unwrap_or_default();
        let live = indices.len();
        let ended: u64 = OutcomeKind::ALL.iter().map(|kind| number(kind.as_str())).sum();
        if fields.contains_key("revived_at_ms") {
            let known = indices.iter().collect::<BTreeSet<_>>().len();
            assert_eq!(known, live, "{key}: a revived task stands in two places");
            return;
        }
        if fields.contains_key("outcome") {
            indices.push(0);
        }
        for run in self.ask::<Vec<String>>(&["LRANGE", &key.replace(":batch:", ":runs:"), "0", "-1"]).await {
            let (first, count) = run.split_once(' ').unwrap();
            let (first, count): (u64, u64) = (first.parse().unwrap(), count.parse().unwrap());
            indices.extend(first..first + count);
        }
        indices.sort_unstable();
        assert!(indices.iter().copied().eq(0..number("tasks")), "{key}: tasks lost or doubled: {indices:?}");
        assert_eq!(ended, number("tasks") - live as u64, "{key}: outcomes counted (left) and recorded (right)");
        let finished = fields["state"] == "finished";
        assert_eq!(finished, fields.contains_key("total") && ended == number("total"), "{key}: {fields:?}");
    }
}
