//! `gristmill kernels`.

use std::io::Write;
use std::time::Duration;

use gristmill::KernelRecord;
use gristmill::shared::{defaults, size};
use serde_json::{Map, Value};

use crate::args::{Global, Kernels};
use crate::exit::Exit;
use crate::table::{Table, object, plain};
use crate::times::{rfc3339, short};
use crate::{kernel_check, schema, session};

const COLUMNS: [(&str, &str); 4] =
    [("KERNEL", "kernel"), ("ARGUMENTS", "arguments"), ("LAST SEEN", "last_seen_at"), ("ABOUT", "about")];

pub async fn run(global: &Global, args: Kernels) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    let kernels = client.kernels().await?;
    let mut table = Table::new(&COLUMNS);
    let Some(name) = &args.kernel else {
        for kernel in &kernels {
            let mut row = row(kernel);
            if !args.json {
                let about = text(&row, "doc").lines().next().unwrap_or_default().to_owned();
                row.insert("about".into(), about.into());
            }
            table.row(row);
        }
        return table.print(args.json, "no worker has offered a kernel yet");
    };
    let kernel = kernels.iter().find(|kernel| kernel.name == *name);
    let kernel = kernel.ok_or_else(|| {
        let known: Vec<String> = kernels.iter().map(|kernel| kernel.name.to_string()).collect();
        let hint = kernel_check::hint(name.as_str(), &known);
        Exit::new(Exit::UNKNOWN, format!("no worker offers the kernel {:?}; {hint}", name.as_str()))
    })?;
    if args.json {
        table.row(row(kernel));
        return table.print(true, "");
    }
    show(&row(kernel))
}

/// Published by whichever worker: what it cannot say is shown as nothing.
fn row(kernel: &KernelRecord) -> Map<String, Value> {
    let info: Value = serde_json::from_str(&kernel.info).unwrap_or_default();
    let schema = info.get("args_schema").cloned().unwrap_or_default();
    object([
        ("kernel", kernel.name.to_string().into()),
        ("arguments", schema::describe(&schema).into()),
        ("last_seen_at", rfc3339(kernel.last_seen_ms).into()),
        ("doc", info.get("doc").and_then(Value::as_str).unwrap_or_default().into()),
        ("args_schema", schema),
        ("options", info.get("options").cloned().unwrap_or_default()),
    ])
}

fn text<'a>(row: &'a Map<String, Value>, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// One kernel for people: its facts, then its documentation.
fn show(row: &Map<String, Value>) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    let facts = ["kernel", "arguments"].map(|name| (name, text(row, name).to_owned()));
    let last_seen = ("last seen", text(row, "last_seen_at").to_owned());
    for (name, value) in facts.into_iter().chain(declared(row.get("options"))).chain([last_seen]) {
        writeln!(out, "{name:16}  {}", plain(&value))?;
    }
    let doc = text(row, "doc");
    if !doc.is_empty() {
        writeln!(out)?;
    }
    for line in doc.lines() {
        writeln!(out, "{}", plain(line))?;
    }
    Ok(out.flush()?)
}

/// What the kernel declares for its tasks, or what holds where it declares nothing.
fn declared(options: Option<&Value>) -> Vec<(&'static str, String)> {
    let number = |name: &str| options.and_then(|options| options.get(name)?.as_u64());
    let time = |name: &str| number(name).map(|ms| short(Duration::from_millis(ms)));
    let none = || "none".to_owned();
    let default = |duration: Duration| format!("{} (default)", short(duration));
    vec![
        ("retries", number("retries").map_or_else(|| format!("{} (default)", defaults::RETRIES), |n| n.to_string())),
        ("back-off", time("backoff_ms").unwrap_or_else(|| default(defaults::BACKOFF))),
        ("longest back-off", time("backoff_max_ms").unwrap_or_else(|| default(defaults::BACKOFF_MAX))),
        ("soft time limit", time("soft_time_limit_ms").unwrap_or_else(none)),
        ("time limit", time("time_limit_ms").unwrap_or_else(none)),
        ("memory limit", number("memory_bytes").map_or_else(none, size::text)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_declared_is_the_default() {
        let options = serde_json::json!({ "retries": 2, "time_limit_ms": 30_000, "memory_bytes": 1 << 29 });
        let found: Vec<_> = declared(Some(&options)).into_iter().map(|(_, value)| value).collect();
        assert_eq!(found, ["2", "1.0s (default)", "10m (default)", "none", "30.0s", "512MiB"]);
        assert_eq!(declared(None)[0].1, "0 (default)");
    }

    #[test]
    fn a_kernel_that_says_nothing_is_listed() {
        let name = gristmill::KernelName::new("k").unwrap();
        let row = row(&KernelRecord { name, info: "no json".into(), last_seen_ms: 0 });
        assert_eq!((&row["arguments"], &row["doc"]), (&"anything".into(), &"".into()));
    }
}
