//! `gristmill workers`.

use std::time::Duration;

use gristmill::shared::size;
use gristmill::{ConsumerLine, WorkerRecord};
use serde_json::{Map, Value};

use crate::args::{Global, Workers};
use crate::exit::Exit;
use crate::session;
use crate::table::{Table, object};
use crate::times::short;

const NONE: &str = "no worker is running";

pub async fn run(global: &Global, args: Workers) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    let workers = client.workers().await?;
    let table = if args.consumers { consumers(&workers, args.json) } else { overview(&workers, args.json) };
    table.print(args.json, NONE)
}

fn overview(workers: &[WorkerRecord], json: bool) -> Table {
    let mut table = Table::new(&[
        ("WORKER", "worker"),
        ("HOST", "host"),
        ("STATE", "state"),
        ("QUEUES", "queues"),
        ("CONSUMERS", "consumers"),
        ("RUNNING", "running_tasks"),
        ("SUCCEEDED", "succeeded"),
        ("FAILED", "failed"),
        ("STARTED", "started_at"),
    ]);
    for worker in workers {
        let mut row = row(worker);
        if !json {
            row.insert("queues".into(), worker.fields.get("queues").cloned().into());
        }
        table.row(row);
    }
    table
}

/// A record is text; what is a number becomes one, and the consumers are gathered.
fn row(worker: &WorkerRecord) -> Map<String, Value> {
    let mut row = object([("worker", worker.id.as_str().into())]);
    for (name, value) in worker.fields.iter().filter(|(name, _)| !name.starts_with(ConsumerLine::FIELD)) {
        row.insert(name.clone(), number_or_text(value));
    }
    let queues = worker.fields.get("queues").map(|names| names.split(',').collect::<Vec<_>>());
    row.insert("queues".into(), queues.into());
    let lines = ConsumerLine::all(worker);
    row.insert("running_tasks".into(), lines.iter().filter(|line| line.is_running()).count().into());
    row.insert("consumer_states".into(), lines.iter().map(|line| Value::Object(state(line))).collect());
    row
}

/// A consumer as an object: what its line says.
fn state(line: &ConsumerLine) -> Map<String, Value> {
    let mut state = object([
        ("place", line.place.into()),
        ("consumer", line.id.as_str().into()),
        ("state", line.state.as_str().into()),
    ]);
    for (name, value) in line.fields() {
        // A note is text, whatever it looks like.
        let value = match (name, line.fraction()) {
            ("progress", _) => value.into(),
            ("fraction", Some(fraction)) => fraction.into(),
            _ => number_or_text(value),
        };
        state.insert(name.to_owned(), value);
    }
    state
}

fn number_or_text(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from)
}

fn consumers(workers: &[WorkerRecord], json: bool) -> Table {
    let mut table = Table::new(&[
        ("WORKER", "worker"),
        ("PID", "pid"),
        ("STATE", "state"),
        ("RSS", "rss"),
        ("SUCCEEDED", "succeeded"),
        ("FAILED", "failed"),
        ("KERNEL", "kernel"),
        ("RUNS FOR", "for"),
        ("TASK", "task"),
        ("PROGRESS", if json { "progress" } else { "told" }),
    ]);
    for worker in workers {
        for line in ConsumerLine::all(worker) {
            let mut row = object([("worker", worker.id.as_str().into())]);
            row.insert("host".into(), worker.fields.get("host").cloned().into());
            row.extend(state(&line));
            if !json {
                let rss = line.number("rss_bytes").map(size::text);
                let running = line.number("run_ms").map(|ms| short(Duration::from_millis(ms)));
                row.extend(object([("rss", rss.into()), ("for", running.into()), ("told", line.progress().into())]));
            }
            table.row(row);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> WorkerRecord {
        let fields = [
            ("consumers", "2"),
            ("host", "mill"),
            ("queues", "urgent,7"),
            ("consumer.1", "b idle pid=8"),
            ("consumer.0", "a running pid=7 rss_bytes=2097152 task=x kernel=k run_ms=1500 fraction=0.25 progress=12"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        WorkerRecord { id: "w".into(), fields }
    }

    #[test]
    fn consumers_are_gathered_in_order() {
        let row = row(&worker());
        assert_eq!((&row["consumers"], &row["running_tasks"]), (&2.into(), &1.into()));
        let states = &row["consumer_states"];
        assert_eq!((&states[0]["consumer"], &states[1]["consumer"]), (&"a".into(), &"b".into()));
        assert_eq!((&states[0]["pid"], &states[0]["progress"]), (&7.into(), &"12".into()));
        assert_eq!(row["queues"], Value::from(vec!["urgent", "7"]));
        assert!(!row.contains_key("consumer.0"), "{row:?}");
    }

    #[test]
    fn queues_are_words_for_people() {
        assert_eq!(overview(&[worker()], false).rows()[0]["queues"], "urgent,7");
    }

    #[test]
    fn each_consumer_is_a_line_for_people() {
        let text = consumers(&[worker()], false).text();
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[1], ["w", "7", "running", "2MiB", "-", "-", "k", "1.5s", "x", "25%", "12"], "{text}");
        assert_eq!(lines[2], ["w", "8", "idle", "-", "-", "-", "-", "-", "-", "-"], "{text}");
    }
}
