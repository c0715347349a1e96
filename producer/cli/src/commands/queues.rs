//! `gristmill queues`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::args::{Global, Listing};
use crate::exit::Exit;
use crate::session;
use crate::table::{Table, object};

pub async fn run(global: &Global, args: Listing) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    let mut table = Table::new(&[
        ("QUEUE", "queue"),
        ("READY", "ready_tasks"),
        ("RUNNING", "running_tasks"),
        ("SCHEDULED", "scheduled_tasks"),
        ("PARKED", "parked_tasks"),
        ("DEAD", "dead_tasks"),
        ("PAUSED", "paused"),
    ]);
    for queue in client.queues().await? {
        let [high, normal, low] = queue.depth_messages;
        let totals: BTreeMap<String, Value> = queue.totals.into_iter().map(|(k, v)| (k, v.into())).collect();
        table.row(object([
            ("queue", queue.name.to_string().into()),
            ("ready_tasks", queue.ready_tasks.into()),
            ("running_tasks", queue.running_tasks.into()),
            ("scheduled_tasks", queue.scheduled_tasks.into()),
            ("parked_tasks", queue.parked_tasks.into()),
            ("dead_tasks", queue.dead_tasks.into()),
            ("paused", queue.paused.into()),
            ("depth_messages", json!({ "high": high, "normal": normal, "low": low })),
            ("totals", json!(totals)),
        ]));
    }
    table.print(args.json, "no queue has been used yet")
}
