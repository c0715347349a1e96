//! `gristmill queues`.

mod watch;

use std::collections::BTreeMap;

use gristmill::QueueStats;
use serde_json::{Map, Value, json};

use crate::args::{Global, Queues};
use crate::exit::Exit;
use crate::session;
use crate::table::{Table, object};

const COLUMNS: [(&str, &str); 7] = [
    ("QUEUE", "queue"),
    ("READY", "ready_tasks"),
    ("RUNNING", "running_tasks"),
    ("SCHEDULED", "scheduled_tasks"),
    ("PARKED", "parked_tasks"),
    ("DEAD", "dead_tasks"),
    ("PAUSED", "paused"),
];
const NONE: &str = "no queue has been used yet";

pub async fn run(global: &Global, args: Queues) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    if args.watch {
        return watch::run(&client, &args).await;
    }
    let mut table = Table::new(&COLUMNS);
    for queue in client.queues().await? {
        table.row(described(queue));
    }
    table.print(args.json, NONE)
}

fn described(queue: QueueStats) -> Map<String, Value> {
    let [high, normal, low] = queue.depth_messages;
    let totals: BTreeMap<String, Value> = queue.totals.into_iter().map(|(k, v)| (k, v.into())).collect();
    object([
        ("queue", queue.name.to_string().into()),
        ("ready_tasks", queue.ready_tasks.into()),
        ("running_tasks", queue.running_tasks.into()),
        ("scheduled_tasks", queue.scheduled_tasks.into()),
        ("parked_tasks", queue.parked_tasks.into()),
        ("dead_tasks", queue.dead_tasks.into()),
        ("paused", queue.paused.into()),
        ("depth_messages", json!({ "high": high, "normal": normal, "low": low })),
        ("depth_limit", queue.depth_limit.into()),
        ("totals", json!(totals)),
    ])
}
