//! `gristmill kernels`.

use std::io::Write;
use std::time::Duration;

use gristmill::KernelRecord;
use gristmill::shared::{KernelName, defaults, size};
use serde_json::{Map, Value};

use crate::args::{Global, Kernels};
use crate::arguments::ArgumentCheck;
use crate::exit::Exit;
use crate::schema::Field;
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
    let row = row(kernel);
    if args.schema {
        return print_schema(&kernel.name, &row);
    }
    if args.json {
        table.row(row);
        return table.print(true, "");
    }
    show(&row)
}

fn print_schema(name: &KernelName, row: &Map<String, Value>) -> Result<(), Exit> {
    let schema = row.get("args_schema").filter(|schema| !schema.is_null());
    let schema = schema.ok_or_else(|| {
        Exit::new(Exit::UNKNOWN, format!("the worker of {name} does not say what it takes: it publishes no schema"))
    })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{schema:#}")?;
    Ok(out.flush()?)
}

const FIELDS: [(&str, &str); 5] =
    [("FIELD", "field"), ("TAKES", "takes"), ("NEEDED", "needed"), ("DEFAULT", "default"), ("ABOUT", "about")];

/// Published by whichever worker: what it cannot say is shown as nothing.
fn row(kernel: &KernelRecord) -> Map<String, Value> {
    let info: Value = serde_json::from_str(&kernel.info).unwrap_or_default();
    let schema = info.get("args_schema").cloned().unwrap_or_default();
    let example = schema::example(&schema).filter(|_| !schema.is_null());
    // What is made up is shown only if it would be taken.
    let fits = |value: &Value| ArgumentCheck::of(kernel, true).pack(value.clone()).is_ok();
    let example = example.filter(fits).unwrap_or_default();
    let fields: Vec<Value> = schema::fields(&schema).into_iter().map(field).collect();
    object([
        ("kernel", kernel.name.to_string().into()),
        ("arguments", schema::describe(&schema).into()),
        ("last_seen_at", rfc3339(kernel.last_seen_ms).into()),
        ("doc", info.get("doc").and_then(Value::as_str).unwrap_or_default().into()),
        ("args_schema", schema),
        ("fields", fields.into()),
        ("example", example),
        ("options", info.get("options").cloned().unwrap_or_default()),
    ])
}

fn field(field: Field) -> Value {
    object([
        ("field", field.path.into()),
        ("takes", field.takes.into()),
        ("required", field.required.into()),
        ("default", field.default.unwrap_or_default()),
        ("about", field.about.into()),
    ])
    .into()
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
    let fields = row.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !fields.is_empty() {
        writeln!(out, "\n{}", table_of(fields).trim_end())?;
    }
    if let Some(example) = row.get("example").filter(|_| row.get("args_schema").is_some_and(Value::is_object)) {
        writeln!(out, "\nExample:\n  {}", plain(&call(text(row, "kernel"), example)))?;
    }
    Ok(out.flush()?)
}

/// The fields as people read them.
fn table_of(fields: &[Value]) -> String {
    let mut table = Table::new(&FIELDS);
    for field in fields.iter().filter_map(Value::as_object) {
        let mut row = field.clone();
        let (required, default) = (field.get("required"), field.get("default"));
        row.insert("needed".into(), if required == Some(&Value::Bool(true)) { "yes" } else { "" }.into());
        let default = default.filter(|default| !default.is_null()).map(Value::to_string);
        row.insert("default".into(), default.unwrap_or_default().into());
        row.insert("about".into(), text(field, "about").lines().next().unwrap_or_default().into());
        table.row(row);
    }
    table.text()
}

/// A command that can be copied into a shell.
fn call(kernel: &str, args: &Value) -> String {
    let args = match args {
        // a kernel without parameters
        Value::Null => String::new(),
        Value::Number(_) | Value::Bool(_) => format!(" {args}"),
        _ => format!(" '{}'", args.to_string().replace('\'', r"'\''")),
    };
    format!("gristmill submit {kernel}{args} --wait")
}

/// What the kernel declares for its tasks, or what holds where it declares nothing.
fn declared(options: Option<&Value>) -> Vec<(&'static str, String)> {
    let number = |name: &str| options.and_then(|options| options.get(name)?.as_u64());
    let time = |name: &str| number(name).map(|ms| short(Duration::from_millis(ms)));
    let ignored = options.and_then(|options| options.get("ignore_result")?.as_bool());
    let none = || "none".to_owned();
    let default = |duration: Duration| format!("{} (default)", short(duration));
    vec![
        ("retries", number("retries").map_or_else(|| format!("{} (default)", defaults::RETRIES), |n| n.to_string())),
        ("back-off", time("backoff_ms").unwrap_or_else(|| default(defaults::BACKOFF))),
        ("longest back-off", time("backoff_max_ms").unwrap_or_else(|| default(defaults::BACKOFF_MAX))),
        ("soft time limit", time("soft_time_limit_ms").unwrap_or_else(none)),
        ("time limit", time("time_limit_ms").unwrap_or_else(none)),
        ("memory limit", number("memory_bytes").map_or_else(none, size::text)),
        ("output", if ignored == Some(true) { "is not kept" } else { "is kept" }.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_declared_is_the_default() {
        let options = serde_json::json!({ "retries": 2, "time_limit_ms": 30_000, "memory_bytes": 1 << 29 });
        let found: Vec<_> = declared(Some(&options)).into_iter().map(|(_, value)| value).collect();
        assert_eq!(found, ["2", "1.0s (default)", "10m (default)", "none", "30.0s", "512MiB", "is kept"]);
        assert_eq!(declared(None)[0].1, "0 (default)");
    }

    #[test]
    fn a_kernel_that_says_nothing_is_listed() {
        let name = gristmill::KernelName::new("k").unwrap();
        let row = row(&KernelRecord { name, info: "no json".into(), last_seen_ms: 0 });
        assert_eq!((&row["arguments"], &row["doc"]), (&"anything".into(), &"".into()));
        assert_eq!((&row["fields"], &row["example"]), (&Value::Array(Vec::new()), &Value::Null));
    }

    #[test]
    fn an_example_can_be_copied_into_a_shell() {
        assert_eq!(call("k", &serde_json::json!(["it's", 1])), r#"gristmill submit k '["it'\''s",1]' --wait"#);
        assert_eq!(call("k", &Value::Null), "gristmill submit k --wait");
        assert_eq!(call("k", &7.into()), "gristmill submit k 7 --wait");
    }
}
