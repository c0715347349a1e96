//! `gristmill status`.

mod forms;
mod task;

use std::io::Write;

use gristmill::{BatchRecord, BatchState, Client, OutcomeKind};
use serde_json::{Map, Value};

use crate::args::{Global, Status};
use crate::exit::Exit;
use crate::id::Id;
use crate::table::object;
use crate::times::rfc3339;
use crate::{ids, session, sheet};

pub async fn run(global: &Global, args: Status) -> Result<(), Exit> {
    let all = ids::all(&args.ids).await?;
    let client = session::connect(global).await?;
    let (mut sheets, mut first) = (Vec::new(), Ok(()));
    for id in all {
        match fields_of(&client, id, !args.json && args.output_format.is_none()).await {
            Ok(fields) => sheets.push(fields),
            // The others are shown all the same; the first that is unknown is told at the end.
            Err(error) if error.code() != Exit::UNKNOWN => return Err(error),
            Err(error) if first.is_ok() => first = Err(error),
            Err(error) => error.say(),
        }
    }
    if let Some(format) = args.output_format {
        let mut out = std::io::stdout().lock();
        out.write_all(&forms::written(&sheets, format))?;
        out.flush()?;
    } else if !sheets.is_empty() || args.json && first.is_ok() {
        sheet::print_all(&sheets, args.json)?;
    }
    first
}

async fn fields_of(client: &Client, id: Id, for_people: bool) -> Result<Map<String, Value>, Exit> {
    let batch = id.batch();
    let unknown =
        |what: String| Exit::new(Exit::UNKNOWN, format!("there is no {what}: the id is wrong, or it expired"));
    match (id, client.batch_record(batch).await?) {
        (Id::Batch(_), Some(record)) => {
            let mut fields = batch_fields(&id.to_string(), &record, client.now_ms());
            if for_people {
                fields.retain(|name, value| is_of_interest(name, value));
            }
            Ok(fields)
        }
        (Id::Task(task), Some(record)) if task.index < record.tasks => {
            task::fields(client, task, &record, for_people).await
        }
        (Id::Task(task), Some(_)) => Err(unknown(format!("task {task}"))),
        (Id::Task(task), None) => {
            let buried = task::buried(client, task, for_people).await?;
            buried.ok_or_else(|| unknown(format!("batch {batch}")))
        }
        (Id::Batch(_), None) => Err(unknown(format!("batch {batch}"))),
    }
}

/// A batch; `now_ms` is the clock by which its times were taken.
fn batch_fields(id: &str, record: &BatchRecord, now_ms: u64) -> Map<String, Value> {
    let mut fields = object([
        ("batch", id.into()),
        ("kernel", record.kernel.as_str().into()),
        ("queue", record.queue.as_str().into()),
        ("state", state(record).into()),
        ("tasks", record.tasks.into()),
        ("total", record.total.into()),
        ("ended", record.ended().into()),
    ]);
    fields.extend(pace(record, now_ms));
    for kind in OutcomeKind::ALL {
        fields.insert(kind.to_string(), record.count(kind).into());
    }
    fields.insert("abandoned".into(), record.abandoned.into());
    fields.insert("stopped".into(), record.stopped.into());
    fields.extend(object([
        ("created_at", rfc3339(record.created_at_ms).into()),
        ("finished_at", record.finished_at_ms.map(rfc3339).into()),
        ("cancelled_at", record.cancelled_at_ms.map(rfc3339).into()),
    ]));
    fields.extend(written(record));
    fields
}

/// What its submitter wrote on it.
fn written(record: &BatchRecord) -> Map<String, Value> {
    let labels = record.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    object([("key", record.key.as_deref().into()), ("labels", Value::Object(labels.collect()))])
}

/// Ways to end badly that nothing went are many, and say nothing to people.
fn is_of_interest(name: &str, value: &Value) -> bool {
    let is_usual = ["succeeded", "failed", "ended"].contains(&name);
    is_usual || !(matches!(value, Value::Bool(false)) || value.as_u64() == Some(0))
}

/// How far it is, how fast it went since it was created, and how long the rest takes at that rate.
fn pace(record: &BatchRecord, now_ms: u64) -> Map<String, Value> {
    let (ended, tasks) = (record.ended(), record.total.unwrap_or(record.tasks));
    let elapsed_ms = record.finished_at_ms.unwrap_or(now_ms).saturating_sub(record.created_at_ms);
    let tenths = |number: f64| (number * 10.0).round() / 10.0;
    let percent = (tasks > 0).then(|| tenths(100.0 * ended as f64 / tasks as f64).min(100.0));
    let rate = (elapsed_ms > 0).then(|| 1e3 * ended as f64 / elapsed_ms as f64);
    // Of an open batch nobody knows how much is to come.
    let left = record.total.filter(|_| record.state == BatchState::Sealed).map(|total| total.saturating_sub(ended));
    let left_ms = left.zip(rate).filter(|(_, rate)| *rate > 0.0).map(|(left, rate)| (1e3 * left as f64 / rate) as u64);
    object([
        ("ended_percent", percent.into()),
        ("elapsed_ms", elapsed_ms.into()),
        ("tasks_per_second", rate.map(tenths).into()),
        ("left_ms", left_ms.into()),
    ])
}

fn state(record: &BatchRecord) -> &'static str {
    match record.state {
        BatchState::Open => "open",
        BatchState::Sealed => "sealed",
        BatchState::Finished => "finished",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: BatchState, tasks: u64, ended: u64) -> BatchRecord {
        BatchRecord {
            kernel: "k".into(),
            queue: "default".into(),
            state,
            single: false,
            next_seq: 1,
            tasks,
            total: (state != BatchState::Open).then_some(tasks),
            counts: [ended, 0, 0, 0, 0, 0, 0, 0],
            created_at_ms: 10_000,
            finished_at_ms: (state == BatchState::Finished).then_some(14_000),
            cancelled_at_ms: None,
            revived_at_ms: None,
            abandoned: false,
            stopped: false,
            result_bytes_max: None,
            key: None,
            labels: Default::default(),
        }
    }

    fn pace_of(state: BatchState, tasks: u64, ended: u64, now_ms: u64) -> Value {
        Value::Object(pace(&record(state, tasks, ended), now_ms))
    }

    #[test]
    fn the_pace_tells_how_long_the_rest_takes() {
        let json = |percent, elapsed, rate, left| serde_json::json!({ "ended_percent": percent, "elapsed_ms": elapsed, "tasks_per_second": rate, "left_ms": left });
        let half = pace_of(BatchState::Sealed, 100, 50, 15_000);
        assert_eq!(half, json(Some(50.0), 5_000, Some(10.0), Some(5_000)));
        let finished = pace_of(BatchState::Finished, 100, 100, 99_000);
        assert_eq!(finished, json(Some(100.0), 4_000, Some(25.0), None));
        let open = pace_of(BatchState::Open, 8, 2, 14_000);
        assert_eq!(open, json(Some(25.0), 4_000, Some(0.5), None));
    }

    #[test]
    fn people_are_told_what_happened() {
        let mut record = record(BatchState::Sealed, 100, 50);
        record.counts[3] = 1;
        let mut fields = batch_fields("b", &record, 15_000);
        fields.retain(|name, value| is_of_interest(name, value));
        let shown = |name: &str| fields.contains_key(name);
        assert!(["succeeded", "failed", "out_of_memory", "ended_percent", "elapsed_ms"].into_iter().all(shown));
        assert!(!["lost", "crashed", "abandoned", "stopped"].into_iter().any(shown), "{fields:?}");
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        // Redis has come back with another clock, or nothing has begun.
        for (tasks, ended, now_ms) in [(0, 0, 10_000), (100, 0, 9_000), (100, 0, 12_000), (100, 5, 10_000)] {
            let pace = pace_of(BatchState::Sealed, tasks, ended, now_ms);
            assert!(pace["left_ms"].is_null(), "{pace}");
        }
    }
}
