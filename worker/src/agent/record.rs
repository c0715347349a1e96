//! Publishes what this worker is and does: readers read, workers are never asked.

use std::fmt::Display;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gristmill_broker::BrokerError;
use gristmill_shared::kernel::RegisteredKernel;
use gristmill_shared::{KernelName, Kernels};
use nix::unistd::getppid;
use serde_json::json;

use super::Agent;
use crate::clock;
use crate::memory;
use crate::slot::{Slot, Slots};

const EVERY: Duration = Duration::from_secs(2);
/// While tasks tell how far they are: a progress bar should move.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// How often that is looked at, in memory; and how often the record is published while a consumer starts: whoever waits
/// for a worker looks there.
const SOON: Duration = Duration::from_millis(200);
const KERNELS_EVERY: Duration = Duration::from_secs(60);
/// A worker that is gone is listed this long.
const TTL: Duration = Duration::from_secs(10);

/// Publishes for as long as the process lives.
pub async fn publish(agent: Rc<Agent>) {
    let started_at = time(clock::epoch_ms());
    let mut kernels_at: Option<Instant> = None;
    let mut refused = false;
    loop {
        let (began, told) = (Instant::now(), told(agent.slots));
        let started = agent.slots.iter().all(|slot| slot.snapshot().joined);
        let fields = fields(&agent, &started_at);
        let worker = &agent.config.worker;
        let call = async |conn: &mut _| agent.broker.publish_worker(conn, worker, &fields, TTL).await;
        // A record that is gone: Redis came back empty, or was away for longer than records live.
        if tell(agent.wire.call(call).await, &mut refused) == Some(false) {
            kernels_at = None;
        }
        if kernels_at.is_none_or(|at| at.elapsed() >= KERNELS_EVERY) {
            let told = tell(publish_kernels(&agent).await, &mut refused);
            kernels_at = told.map(|()| Instant::now());
        }
        let is_due = || match began.elapsed() {
            elapsed if elapsed >= EVERY || !started => true,
            elapsed => elapsed >= TOLD_EVERY && self::told(agent.slots) != told,
        };
        tokio::time::sleep(SOON).await;
        while !is_due() {
            tokio::time::sleep(SOON).await;
        }
    }
}

/// Another value whenever a task has told something of itself.
fn told(slots: Slots) -> Vec<u32> {
    slots.iter().map(Slot::told).collect()
}

/// Takes the record away: the worker leaves.
pub async fn withdraw(agent: &Agent) {
    let gone = [("state".to_owned(), "gone".to_owned())];
    let worker = &agent.config.worker;
    let ttl = Duration::from_millis(1);
    let call = async |conn: &mut _| agent.broker.publish_worker(conn, worker, &gone, ttl).await;
    tell(agent.wire.call(call).await, &mut false);
}

/// Says so once where Redis refuses: at its memory limit it takes no records, and that may last.
fn tell<T>(published: Result<T, BrokerError>, refused: &mut bool) -> Option<T> {
    match published {
        Ok(answer) => {
            *refused = false;
            return Some(answer);
        }
        Err(error) if !std::mem::replace(refused, true) => {
            tracing::warn!("what this worker is and does cannot be published for now: {error}");
        }
        Err(_) => {}
    }
    None
}

async fn publish_kernels(agent: &Agent) -> Result<(), BrokerError> {
    let kernels: Vec<_> = agent
        .kernels
        .iter()
        .filter_map(|kernel| Some((KernelName::new(kernel.name).ok()?, describe(kernel))))
        .collect();
    agent.wire.call(async |conn| agent.broker.publish_kernels(conn, &kernels).await).await
}

/// A kernel as JSON, for `gristmill kernels` and for clients that check arguments.
fn describe(kernel: &RegisteredKernel) -> String {
    let ms = |duration: Option<Duration>| duration.map(|duration| duration.as_millis() as u64);
    let options = json!({
        "retries": kernel.options.retries,
        "backoff_ms": ms(kernel.options.backoff),
        "backoff_max_ms": ms(kernel.options.backoff_max),
        "soft_time_limit_ms": ms(kernel.options.soft_time_limit),
        "time_limit_ms": ms(kernel.options.time_limit),
        "memory_bytes": kernel.options.memory,
        "ignore_result": kernel.options.ignore_result,
    });
    json!({ "doc": kernel.doc, "args_schema": (kernel.args_schema)(), "options": options }).to_string()
}

fn fields(agent: &Agent, started_at: &str) -> Vec<(String, String)> {
    let config = &agent.config;
    let queues: Vec<_> = config.queues.iter().map(ToString::to_string).collect();
    let mut fields = vec![
        ("host", config.host.clone()),
        ("pid", getppid().to_string()),
        ("agent_pid", std::process::id().to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("consumers", config.consumers.to_string()),
        ("queues", queues.join(",")),
        ("state", if agent.slots.draining() { "draining" } else { "running" }.to_owned()),
        ("started_at", started_at.to_owned()),
        ("updated_at", time(clock::epoch_ms())),
    ];
    fields.extend(totals(agent.slots));
    let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for (place, slot) in agent.slots.iter().enumerate() {
        fields.push((format!("consumer.{place}"), consumer(slot, &agent.kernels)));
    }
    fields
}

fn totals(slots: Slots) -> [(&'static str, String); 6] {
    let sum = |count: fn(&Slot) -> u64| slots.iter().map(count).sum::<u64>().to_string();
    [
        ("succeeded", sum(|slot| slot.counters().succeeded.load(Relaxed))),
        ("failed", sum(|slot| slot.counters().failed.load(Relaxed))),
        ("busy_ms", sum(|slot| slot.counters().busy_us.load(Relaxed) / 1_000)),
        ("claimed", sum(|slot| slot.counters().claimed.load(Relaxed))),
        ("calls", sum(|slot| slot.counters().calls.load(Relaxed))),
        ("recycled", sum(|slot| slot.counters().recycled.load(Relaxed))),
    ]
}

/// One consumer in one line: its id, its state, then `key=value` where something has a value. What its task noted
/// stands last, since it may hold anything.
fn consumer(slot: &Slot, kernels: &Kernels) -> String {
    let (slot, counters) = (slot.snapshot(), slot.counters());
    let state = match &slot.task {
        Some(_) if slot.ended.is_some() => "ending",
        Some(_) => "running",
        None if slot.joined => "idle",
        None => "starting",
    };
    let mut line = format!("{} {state}", slot.consumer);
    let mut add = |name: &str, value: &dyn Display| line += &format!(" {name}={value}");
    if let Some(pid) = slot.pid {
        add("pid", &pid);
        if let Some(bytes) = memory::resident_bytes(pid) {
            add("rss_bytes", &bytes);
        }
    }
    add("succeeded", &counters.succeeded.load(Relaxed));
    add("failed", &counters.failed.load(Relaxed));
    if let Some(task) = &slot.task {
        add("task", &task.task);
        add("kernel", &kernels.iter().nth(task.kernel as usize).map_or("?", |kernel| kernel.name));
        add("started_at", &time(task.started_at_ms));
        add("run_ms", &task.run_ms);
    }
    if slot.leaving != crate::slot::Leaving::None {
        add("leaving", &slot.leaving.as_str());
    }
    if let Some(fraction) = slot.fraction {
        add("fraction", &format_args!("{fraction:.4}"));
    }
    if let Some(progress) = &slot.progress {
        add("progress", progress);
    }
    line
}

/// RFC 3339, UTC.
fn time(epoch_ms: u64) -> String {
    i64::try_from(epoch_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(String::new, |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Begin;
    use gristmill_shared::{BatchId, ConsumerId};

    #[test]
    fn a_consumer_is_one_readable_line() {
        let slot = Slot::default();
        let id = ConsumerId::new();
        slot.reset(id);
        let kernels = Kernels::default();
        assert_eq!(consumer(&slot, &kernels), format!("{id} starting succeeded=0 failed=0"));
        slot.set_joined();
        slot.set_pid(std::process::id());
        let line = consumer(&slot, &kernels);
        assert!(line.starts_with(&format!("{id} idle pid={} rss_bytes=", std::process::id())), "{line}");
        let task = BatchId::new().task(3);
        assert!(slot.begin(&Begin { position: 0, item: 0, task, kernel: 9, time_limit: None, memory: None }));
        slot.note_progress(Some(0.5), "half way");
        let line = consumer(&slot, &kernels);
        assert!(line.starts_with(&format!("{id} running pid=")), "{line}");
        assert!(line.contains(&format!(" task={task} kernel=? started_at=20")), "{line}");
        assert!(line.ends_with("progress=half way"), "{line}");
    }
}
