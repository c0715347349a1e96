//! One thing in all detail: a field per line for people, an array of one object for programs.

use std::io::Write;
use std::time::Duration;

use gristmill::shared::size;
use serde_json::{Map, Value};

use crate::exit::{Exit, one_line};
use crate::times::short;

/// Prints the fields in their order. What is empty is left out for people.
pub fn print(fields: &Map<String, Value>, json: bool) -> Result<(), Exit> {
    print_all(std::slice::from_ref(fields), json)
}

/// The same of several things, with an empty line between them for people.
pub fn print_all(things: &[Map<String, Value>], json: bool) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, things).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        let texts: Vec<String> = things.iter().map(text).collect();
        out.write_all(texts.join("\n").as_bytes())?;
    }
    out.flush()?;
    Ok(())
}

fn text(fields: &Map<String, Value>) -> String {
    let mut lines = Vec::new();
    write(fields, 0, &mut lines);
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn write(fields: &Map<String, Value>, indent: usize, lines: &mut Vec<String>) {
    let shown: Vec<_> = fields.iter().filter(|(_, value)| !is_empty(value)).collect();
    let width = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in shown {
        let margin = " ".repeat(indent);
        match value {
            Value::Object(inner) => {
                lines.push(format!("{margin}{name}"));
                write(inner, indent + 2, lines);
            }
            Value::Array(items) => {
                lines.push(format!("{margin}{name}"));
                lines.extend(items.iter().map(|item| format!("{margin}  {}", cell("", item))));
            }
            _ => lines.push(format!("{margin}{name:width$}  {}", cell(name, value))),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

/// A number whose name tells its unit is written with it.
fn cell(name: &str, value: &Value) -> String {
    match (value, value.as_u64()) {
        (Value::String(text), _) => one_line(text),
        (Value::Bool(flag), _) => if *flag { "yes" } else { "no" }.to_owned(),
        (_, Some(number)) if name.ends_with("_bytes") => size::text(number),
        (_, Some(number)) if name.ends_with("_ms") => short(Duration::from_millis(number)),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_belongs_together_is_indented() {
        let Value::Object(fields) = json!({
            "task": "b.1",
            "message": "one\ntwo\u{1b}",
            "worker": null,
            "certificate": { "run_ms": 1500, "peak_rss_bytes": 2097152, "core_dumped": false },
            "history": ["it crashed", "it was lost"],
            "empty": {},
        }) else {
            panic!("an object")
        };
        let mut lines: Vec<_> = text(&fields).lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "  core_dumped     no",
                "  it crashed",
                "  it was lost",
                "  peak_rss_bytes  2MiB",
                "  run_ms          1.5s",
                "certificate",
                "history",
                "message      one two",
                "task         b.1",
            ]
        );
    }
}
