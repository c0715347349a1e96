//! `gristmill workers`.

use gristmill::WorkerRecord;
use serde_json::{Map, Value};

use crate::args::{Global, Listing};
use crate::exit::Exit;
use crate::session;
use crate::table::Table;

/// Fields of the record that hold one consumer each, as a line of text.
const CONSUMER: &str = "consumer.";

pub async fn run(global: &Global, args: Listing) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    let mut table = Table::new(&[
        ("WORKER", "worker"),
        ("HOST", "host"),
        ("QUEUES", "queues"),
        ("CONSUMERS", "consumers"),
        ("RUNNING", "running_tasks"),
        ("SUCCEEDED", "succeeded"),
        ("FAILED", "failed"),
        ("STARTED", "started_at"),
    ]);
    for worker in client.workers().await? {
        table.row(row(&worker));
    }
    table.print(args.json, "no worker is running")
}

/// A record is text; what is a number becomes one, and the lines of the consumers are gathered.
fn row(worker: &WorkerRecord) -> Map<String, Value> {
    let mut row = Map::from_iter([("worker".to_owned(), Value::from(worker.id.as_str()))]);
    for (name, value) in worker.fields.iter().filter(|(name, _)| !name.starts_with(CONSUMER)) {
        let value = value.parse::<u64>().map_or_else(|_| Value::from(value.as_str()), Value::from);
        row.insert(name.clone(), value);
    }
    let mut lines: Vec<_> = worker.fields.iter().filter_map(|(name, line)| Some((place(name)?, line))).collect();
    lines.sort();
    let running = lines.iter().filter(|(_, line)| is_running(line)).count();
    row.insert("running_tasks".into(), running.into());
    row.insert("consumer_states".into(), lines.into_iter().map(|(_, line)| Value::from(line.as_str())).collect());
    row
}

fn place(name: &str) -> Option<u32> {
    name.strip_prefix(CONSUMER)?.parse().ok()
}

fn is_running(line: &str) -> bool {
    line.split(' ').nth(1) == Some("running")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_are_gathered_in_order() {
        let fields =
            [("consumers", "11"), ("host", "mill"), ("consumer.10", "b idle"), ("consumer.2", "a running task=x")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let row = row(&WorkerRecord { id: "w".into(), fields });
        assert_eq!((&row["consumers"], &row["running_tasks"]), (&11.into(), &1.into()));
        assert_eq!(row["consumer_states"], serde_json::json!(["a running task=x", "b idle"]));
    }
}
