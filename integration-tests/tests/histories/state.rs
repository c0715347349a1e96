//! The promises that can be read off Redis alone, without the model: where tasks stand, what is counted, who
//! owns which key.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_shared::outcome::decode_run;
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{BatchId, Header, Keys, Lane, Message, OutcomeKind, QueueName};

use crate::dump::Dump;
use crate::hold;
use crate::model::{Broken, Held};

type Tasks = BTreeMap<&'static str, u64>;

/// What a recount needs.
pub struct State<'a> {
    pub dump: &'a Dump,
    pub keys: &'a Keys,
    pub queues: &'a [QueueName],
}

/// Where all messages stand.
#[derive(Default)]
pub struct Places {
    /// Each task that stands somewhere, and the key.
    pub tasks: BTreeMap<(BatchId, u64), String>,
    /// Tasks of each queue by the counter that should count them.
    counters: BTreeMap<String, Tasks>,
}

impl Places {
    fn put(&mut self, key: &str, header: &Header, counter: &'static str) -> Held {
        for index in header.indices() {
            let before = self.tasks.insert((header.batch, index), key.to_owned());
            let task = header.batch.task(index);
            hold!(before.is_none(), "task {task} stands in {} and in {key}", before.unwrap_or_default());
        }
        let queue = self.counters.entry(header.queue.to_string()).or_default();
        *queue.entry(counter).or_default() += u64::from(header.count);
        Ok(())
    }
}

impl State<'_> {
    /// Checks everything; `forgotten` are batches whose results readers let go.
    pub fn check(&self, forgotten: &BTreeSet<BatchId>) -> Held<Places> {
        self.check_owners()?;
        let places = self.places()?;
        for queue in self.queues {
            self.check_queue(&places, queue)?;
        }
        for name in self.dump.names("batch:") {
            let id = name["batch:".len()..].parse()?;
            self.check_batch(&places, id, forgotten.contains(&id))?;
        }
        Ok(places)
    }

    fn places(&self) -> Held<Places> {
        let (dump, keys) = (self.dump, self.keys);
        let mut places = Places::default();
        for queue in self.queues {
            for lane in Lane::ALL {
                let key = keys.ready(queue, lane);
                for message in dump.list(&key) {
                    // Rubbish stands there until somebody claims.
                    let Ok(Message { header, .. }) = Message::parse(message) else { continue };
                    hold!(header.queue == *queue && header.lane == lane, "{key} holds a message of another lane");
                    places.put(&key, &header, "ready_tasks")?;
                }
            }
            let key = keys.scheduled(queue);
            for (message, _) in dump.zset(&key) {
                places.put(&key, &Message::parse(message)?.header, "scheduled_tasks")?;
            }
            for key in dump.names(&format!("parked:{queue}:")) {
                for message in dump.list(&dump.full(key)) {
                    places.put(key, &Message::parse(message)?.header, "parked_tasks")?;
                }
            }
        }
        for key in dump.names("inflight:") {
            for message in dump.list(&dump.full(key)) {
                places.put(key, &Message::parse(message)?.header, "running_tasks")?;
            }
        }
        for (field, suspect) in dump.hash(&keys.suspects()) {
            places.put(&format!("suspects {field}"), &Suspect::parse(suspect)?.message.header, "running_tasks")?;
        }
        Ok(places)
    }

    fn check_queue(&self, places: &Places, queue: &QueueName) -> Held {
        let (dump, keys) = (self.dump, self.keys);
        let hash = dump.hash(&keys.queue(queue));
        let (dead, records) = (dump.zset(&keys.dead(queue)), dump.hash(&keys.dead_records(queue)));
        let ids: BTreeSet<_> = dead.iter().map(|(id, _)| text(id)).collect();
        hold!(ids.iter().eq(records.keys()), "{queue}: dead letters and their records differ");
        let mut expected = places.counters.get(queue.as_str()).cloned().unwrap_or_default();
        expected.insert("dead_tasks", dead.len() as u64);
        for counter in ["ready_tasks", "running_tasks", "scheduled_tasks", "parked_tasks", "dead_tasks"] {
            let counted = number(hash, counter)?;
            let expected = expected.get(counter).copied().unwrap_or(0);
            hold!(counted == expected, "{queue}: {counter} is {counted}, a recount gives {expected}");
        }
        hold!(dump.list(&keys.doorbell(queue)).len() <= 1, "the doorbell of {queue} rings more than once");
        Ok(())
    }

    /// Each task of a batch has one outcome or one place; counters count the outcomes; it is finished if it
    /// is sealed and has them all.
    fn check_batch(&self, places: &Places, id: BatchId, forgotten: bool) -> Held {
        let hash = self.dump.hash(&self.keys.batch(id));
        let sum =
            OutcomeKind::ALL.iter().try_fold(0, |sum, kind| Ok::<_, Broken>(sum + number(hash, kind.as_str())?))?;
        let (tasks, total) = (number(hash, "tasks")?, hash.get("total").map(|_| number(hash, "total")).transpose()?);
        let state = hash.get("state").map(|state| text(state)).unwrap_or_default();
        // A revived task takes its outcome back, but not the end of its batch.
        let revived = hash.contains_key("revived_at_ms");
        let complete = total.is_some_and(|total| sum >= total);
        hold!((state == "finished") == complete || revived, "{id} is {state} with {sum} outcomes of {total:?}");
        if revived || forgotten {
            return Ok(());
        }
        hold!(total.is_none_or(|total| total == tasks), "{id} has {tasks} tasks, and the total {total:?}");
        let mut counts = [0; 8];
        let mut ended = BTreeSet::new();
        for (first, run) in self.runs(id)? {
            for (index, kind) in (first..).zip(run) {
                counts[usize::from(kind.code())] += 1;
                hold!(ended.insert(index), "task {} has two outcomes", id.task(index));
            }
        }
        for kind in OutcomeKind::ALL {
            let (counted, expected) = (number(hash, kind.as_str())?, counts[usize::from(kind.code())]);
            hold!(counted == expected, "{id}: {kind} is {counted}, a recount gives {expected}");
        }
        for index in 0..tasks {
            let (place, ended) = (places.tasks.get(&(id, index)), ended.contains(&index));
            let task = id.task(index);
            hold!(place.is_some() || ended, "task {task} is lost");
            hold!(
                place.is_none() || !ended,
                "task {task} has ended, and stands in {}",
                place.map_or("", |place| place)
            );
        }
        Ok(())
    }

    /// First index and kinds of each run that readers find.
    fn runs(&self, id: BatchId) -> Held<Vec<(u64, Vec<OutcomeKind>)>> {
        let kinds =
            |run: &Vec<u8>| Ok::<_, Broken>(decode_run(run)?.iter().map(gristmill_shared::Outcome::kind).collect());
        if let Some(outcome) = self.dump.hash(&self.keys.batch(id)).get("outcome") {
            return Ok(vec![(0, kinds(outcome)?)]);
        }
        let results = self.dump.hash(&self.keys.results(id, 0)).iter();
        results.map(|(first, run)| Ok((first.parse()?, kinds(run)?))).collect()
    }

    /// Every key has an owner that will delete it, or a time to live.
    fn check_owners(&self) -> Held {
        let (dump, keys) = (self.dump, self.keys);
        let member = |key: &str, name: &str| dump.zset(key).iter().any(|(member, _)| member == name.as_bytes());
        for (name, ttl) in dump.keys() {
            let (kind, rest) = name.split_once(':').unwrap_or((name, ""));
            let owner = rest.split(':').next().unwrap_or_default();
            let owned = match kind {
                "leases" | "batches" | "suspects" | "queues" | "paused" | "cancelled" => true,
                "clock" | "doorbell" | "blob" | "parked" => ttl > 0,
                "ready" | "queue" | "scheduled" | "dead" => {
                    dump.set(&keys.queues()).iter().any(|known| known == owner.as_bytes())
                }
                "consumer" | "inflight" => member(&keys.leases(), rest),
                "batch" => ttl > 0 || member(&keys.batches(), rest),
                "results" | "runs" => member(&keys.batches(), owner) && dump.has(&dump.full(&format!("batch:{owner}"))),
                _ => false,
            };
            hold!(owned, "the key {name} has neither an owner nor a time to live");
        }
        for (lease, _) in dump.zset(&keys.leases()) {
            let consumer = dump.full(&format!("consumer:{}", text(lease)));
            hold!(dump.has(&consumer), "the lease of {} belongs to no consumer", text(lease));
        }
        for mark in dump.hash(&keys.cancelled()).keys() {
            hold!(member(&keys.batches(), mark), "the cancel mark of {mark} has no owner");
        }
        Ok(())
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A counter; absent is zero, below zero is a fault.
pub fn number(hash: &BTreeMap<String, Vec<u8>>, field: &str) -> Held<u64> {
    let Some(bytes) = hash.get(field) else { return Ok(0) };
    text(bytes).parse().map_err(|_| Broken(format!("the counter {field} is {}", text(bytes))))
}
