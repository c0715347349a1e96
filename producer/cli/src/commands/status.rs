//! `gristmill status`.

use std::io::Write;

use gristmill::shared::TaskId;
use gristmill::{BatchRecord, BatchState, Client, OutcomeKind, TaskError};
use serde_json::{Map, Value};

use crate::args::{Global, Status};
use crate::exit::Exit;
use crate::id::Id;
use crate::session;
use crate::table::object;
use crate::times::rfc3339;

pub async fn run(global: &Global, args: Status) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    let batch = args.id.batch();
    let unknown =
        |what: String| Exit::new(Exit::UNKNOWN, format!("there is no {what}: the id is wrong, or it expired"));
    let record = client.batch(batch).await?.ok_or_else(|| unknown(format!("batch {batch}")))?;
    let fields = match args.id {
        Id::Batch(_) => batch_fields(&args.id.to_string(), &record),
        Id::Task(task) if task.index >= record.tasks => return Err(unknown(format!("task {task}"))),
        Id::Task(task) => task_fields(&client, task, &record).await?,
    };
    print(&fields, args.json)
}

fn batch_fields(id: &str, record: &BatchRecord) -> Map<String, Value> {
    let mut fields = object([
        ("batch", id.into()),
        ("kernel", record.kernel.as_str().into()),
        ("queue", record.queue.as_str().into()),
        ("state", state(record).into()),
        ("tasks", record.tasks.into()),
        ("total", record.total.into()),
        ("ended", record.ended().into()),
    ]);
    for kind in OutcomeKind::ALL {
        fields.insert(kind.to_string(), record.count(kind).into());
    }
    fields.insert("abandoned".into(), record.abandoned.into());
    fields.extend(object([
        ("created_at", rfc3339(record.created_at_ms).into()),
        ("finished_at", record.finished_at_ms.map(rfc3339).into()),
        ("cancelled_at", record.cancelled_at_ms.map(rfc3339).into()),
    ]));
    fields
}

fn state(record: &BatchRecord) -> &'static str {
    match record.state {
        BatchState::Open => "open",
        BatchState::Sealed => "sealed",
        BatchState::Finished => "finished",
    }
}

async fn task_fields(client: &Client, task: TaskId, record: &BatchRecord) -> Result<Map<String, Value>, Exit> {
    let mut fields = object([
        ("task", task.to_string().into()),
        ("kernel", record.kernel.as_str().into()),
        ("queue", record.queue.as_str().into()),
    ]);
    match client.result_present(task).await? {
        Some(Ok(_)) => fields.extend(object([("state", "succeeded".into())])),
        Some(Err(TaskError::Ended(failure))) => fields.extend(object([
            ("state", failure.kind.to_string().into()),
            ("message", failure.message.into()),
            ("attempt", failure.attempt.into()),
            ("certificate", serde_json::to_value(&failure.certificate).unwrap_or_default()),
        ])),
        Some(Err(other)) => fields.extend(object([("state", "ended".into()), ("message", other.to_string().into())])),
        None => fields.extend(unfinished(client, task).await?),
    }
    Ok(fields)
}

/// A task without an outcome runs if a worker says so; else it waits in some list.
async fn unfinished(client: &Client, task: TaskId) -> Result<Map<String, Value>, Exit> {
    let mark = format!(" task={task} ");
    for worker in client.workers().await? {
        if let Some(line) = worker.fields.values().find(|line| format!("{line} ").contains(&mark)) {
            return Ok(object([
                ("state", "running".into()),
                ("worker", worker.id.into()),
                ("consumer", line.as_str().into()),
            ]));
        }
    }
    Ok(object([("state", "waiting".into())]))
}

/// One object: as an array of one with `--json`, as every table is; else one field per line.
fn print(fields: &Map<String, Value>, json: bool) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", Value::from(vec![Value::Object(fields.clone())]))?;
    } else {
        let width = fields.keys().map(String::len).max().unwrap_or(0);
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let text = value.as_str().map_or_else(|| value.to_string(), crate::exit::one_line);
            writeln!(out, "{name:width$}  {text}")?;
        }
    }
    out.flush()?;
    Ok(())
}
