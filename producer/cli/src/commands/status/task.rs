//! The status of one task: how it ended, or where it is.

use gristmill::shared::TaskId;
use gristmill::{BatchRecord, Client, ConsumerLine, DeadTask, Lane, Place, QueueName, TaskError, TaskFailure};
use serde_json::{Map, Value};

use crate::certificate;
use crate::exit::Exit;
use crate::said::Said;
use crate::table::object;
use crate::times::rfc3339;

/// Length of the bar that shows how far a task is.
const BAR: usize = 30;

/// What is known of a task whose batch is there.
pub async fn fields(
    client: &Client,
    task: TaskId,
    record: &BatchRecord,
    for_people: bool,
) -> Result<Map<String, Value>, Exit> {
    let mut fields = object([
        ("task", task.to_string().into()),
        ("kernel", record.kernel.as_str().into()),
        ("queue", record.queue.as_str().into()),
    ]);
    fields.extend(match client.result_present(task).await? {
        Some(Ok(_)) => object([("state", "succeeded".into()), ("run_ms", run_ms(client, task).await?)]),
        Some(Err(TaskError::NotKept(_))) => {
            object([("state", "succeeded".into()), ("run_ms", run_ms(client, task).await?), ("kept", false.into())])
        }
        Some(Err(TaskError::Ended(failure))) => ended(client, record, &failure, for_people).await?,
        Some(Err(other)) => object([("state", "ended".into()), ("message", other.to_string().into())]),
        None => unfinished(client, task, record, for_people).await?,
    });
    fields.extend(super::written(record));
    Ok(fields)
}

/// What is known of a task whose batch has expired: letters are kept longer.
pub async fn buried(client: &Client, task: TaskId, for_people: bool) -> Result<Option<Map<String, Value>>, Exit> {
    let Some(dead) = client.dead_letter(&task.to_string(), None).await? else { return Ok(None) };
    let epitaph = &dead.letter.epitaph;
    let mut fields = object([
        ("task", task.to_string().into()),
        ("kernel", epitaph.kernel.as_str().into()),
        ("queue", dead.queue.as_str().into()),
        ("state", epitaph.reason.as_str().into()),
    ]);
    if let Some(failure) = &epitaph.failure {
        let found = failure.certificate.as_ref();
        fields.extend(object([
            ("message", failure.message.as_str().into()),
            ("attempt", failure.attempt.into()),
            ("certificate", found.map(|found| certificate::certificate(found, for_people)).into()),
        ]));
        fields.extend(Said::from(failure).fields(for_people));
    }
    fields.extend(letter(&dead, for_people));
    Ok(Some(fields))
}

async fn ended(
    client: &Client,
    record: &BatchRecord,
    failure: &TaskFailure,
    for_people: bool,
) -> Result<Map<String, Value>, Exit> {
    let found = failure.certificate.as_deref();
    let mut fields = object([
        ("state", failure.kind.to_string().into()),
        ("message", failure.message.as_str().into()),
        ("attempt", failure.attempt.into()),
        ("run_ms", run_ms(client, failure.task).await?),
        ("certificate", found.map(|found| certificate::certificate(found, for_people)).into()),
    ]);
    fields.extend(Said::from(failure).fields(for_people));
    if !failure.kind.is_dead_letter() {
        return Ok(fields);
    }
    let queue = QueueName::new(record.queue.as_str()).ok();
    if let Some(dead) = client.dead_letter(&failure.task.to_string(), queue.as_ref()).await? {
        fields.extend(letter(&dead, for_people));
    } else if record.revived_at_ms.is_some() && record.total.is_some_and(|total| record.ended() < total) {
        // The stored outcome is that of an earlier life: the letter was retried, and has not ended again.
        return unfinished(client, failure.task, record, for_people).await;
    }
    Ok(fields)
}

/// How long its last attempt ran, where that is known.
async fn run_ms(client: &Client, task: TaskId) -> Result<Value, Exit> {
    Ok(client.run_time(task).await?.map(|run| run.as_millis() as u64).into())
}

/// What a dead letter tells besides how the task ended.
fn letter(dead: &DeadTask, for_people: bool) -> Map<String, Value> {
    let mut fields = object([("buried_at", rfc3339(dead.letter.at_ms).into())]);
    if let Some((message, body)) = dead.message() {
        fields.insert("crashes".into(), message.header.crashes.into());
        fields.insert("losses".into(), message.header.losses.into());
        fields.insert("history".into(), certificate::history(&body.unwrap_or_default().history, for_people));
    }
    fields
}

/// A task without an outcome runs if a worker says so; else it waits in some list.
async fn unfinished(
    client: &Client,
    task: TaskId,
    record: &BatchRecord,
    for_people: bool,
) -> Result<Map<String, Value>, Exit> {
    let waiting = || object([("state", "waiting".into())]);
    let running = running(client, task, for_people).await?;
    let Some(located) = client.locate(task, record).await? else { return Ok(running.unwrap_or_else(waiting)) };
    // What a worker publishes is up to some seconds old; where the message stands is true now.
    let holds = |consumer: &str| matches!(&located.place, Place::Claimed(holder) if holder.to_string() == consumer);
    let running = running.filter(|fields| fields["consumer"].as_str().is_some_and(holds));
    let mut fields = running.unwrap_or_else(waiting);
    let header = &located.message.header;
    match located.place {
        Place::Claimed(consumer) => {
            fields.insert("place".into(), "claimed".into());
            fields.entry("consumer").or_insert_with(|| consumer.to_string().into());
        }
        Place::Ready(lane, ahead) => {
            let lane = match lane {
                Lane::High => "high",
                Lane::Normal => "normal",
                Lane::Low => "low",
            };
            fields.extend(object([("place", "ready".into()), ("lane", lane.into()), ("messages_ahead", ahead.into())]));
        }
        Place::Scheduled(due_ms) => {
            fields.extend(object([("place", "scheduled".into()), ("due_at", rfc3339(due_ms).into())]));
        }
        // Whoever claims it next will not know the kernel either.
        Place::Parked => fields.extend(object([("place", "parked".into())])),
    }
    fields.extend(object([
        ("attempt", header.attempt.into()),
        ("crashes", header.crashes.into()),
        ("losses", header.losses.into()),
        ("expires_at", rfc3339(header.expires_at_ms).into()),
    ]));
    let body = located.message.read_body().unwrap_or_default();
    fields.insert("history".into(), certificate::history(&body.history, for_people));
    Ok(fields)
}

/// How far it is, as it says. For people: a bar.
fn fraction(line: &ConsumerLine, for_people: bool) -> Value {
    let Some(fraction) = line.fraction() else { return Value::Null };
    if !for_people {
        return fraction.into();
    }
    let full = (fraction * BAR as f64) as usize;
    format!("[{:<BAR$}] {:.0}%", "=".repeat(full.min(BAR)), 100.0 * fraction).into()
}

/// What its worker publishes of a task that runs.
async fn running(client: &Client, task: TaskId, for_people: bool) -> Result<Option<Map<String, Value>>, Exit> {
    let id = task.to_string();
    for worker in client.workers().await? {
        let lines = ConsumerLine::all(&worker);
        let Some(line) = lines.iter().find(|line| line.text("task") == Some(id.as_str())) else { continue };
        return Ok(Some(object([
            ("state", "running".into()),
            ("worker", worker.id.as_str().into()),
            ("host", worker.fields.get("host").cloned().into()),
            ("consumer", line.id.as_str().into()),
            ("pid", line.number("pid").into()),
            ("started_at", line.text("started_at").into()),
            ("run_ms", line.number("run_ms").into()),
            ("rss_bytes", line.number("rss_bytes").into()),
            ("fraction", fraction(line, for_people)),
            ("progress", line.text("progress").into()),
        ])));
    }
    Ok(None)
}
