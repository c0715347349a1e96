//! `gristmill status`.

mod task;

use gristmill::{BatchRecord, BatchState, OutcomeKind};
use serde_json::{Map, Value};

use crate::args::{Global, Status};
use crate::exit::Exit;
use crate::id::Id;
use crate::table::object;
use crate::times::rfc3339;
use crate::{session, sheet};

pub async fn run(global: &Global, args: Status) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    let batch = args.id.batch();
    let unknown =
        |what: String| Exit::new(Exit::UNKNOWN, format!("there is no {what}: the id is wrong, or it expired"));
    let for_people = !args.json;
    let fields = match (args.id, client.batch(batch).await?) {
        (Id::Batch(_), Some(record)) => batch_fields(&args.id.to_string(), &record),
        (Id::Task(task), Some(record)) if task.index < record.tasks => {
            task::fields(&client, task, &record, for_people).await?
        }
        (Id::Task(task), Some(_)) => return Err(unknown(format!("task {task}"))),
        (Id::Task(task), None) => {
            let buried = task::buried(&client, task, for_people).await?;
            buried.ok_or_else(|| unknown(format!("batch {batch}")))?
        }
        (Id::Batch(_), None) => return Err(unknown(format!("batch {batch}"))),
    };
    sheet::print(&fields, args.json)
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
