//! What is known of several things, for other programs: a line of JSON each, or rows of a table.

use serde_json::{Map, Value};

use crate::input::line_of;
use crate::output::OutputFormat;

type Thing = Map<String, Value>;

/// All of them in this form.
pub fn written(things: &[Thing], format: OutputFormat) -> Vec<u8> {
    match format {
        OutputFormat::Jsonl => {
            things.iter().flat_map(|thing| format!("{}\n", Value::from(thing.clone())).into_bytes()).collect()
        }
        OutputFormat::Csv => table(things, b','),
        OutputFormat::Tsv => table(things, b'\t'),
    }
}

/// The columns are the fields of all things; what stands within a field has columns of its own.
fn table(things: &[Thing], delimiter: u8) -> Vec<u8> {
    let rows: Vec<Vec<(String, String)>> = things.iter().map(flat).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let has_inner =
        |name: &str| columns.iter().any(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
    // Of one thing it may be unknown what another has in several columns.
    let columns: Vec<&str> = columns.iter().copied().filter(|name| !has_inner(name)).collect();
    if columns.is_empty() {
        return Vec::new();
    }
    let mut out = line_of(&columns, delimiter);
    for row in &rows {
        let cell = |column: &&str| row.iter().find(|(name, _)| name == column).map_or("", |(_, text)| text);
        out.extend(line_of(columns.iter().map(cell), delimiter));
    }
    out
}

fn flat(thing: &Thing) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    flatten("", thing, &mut cells);
    cells
}

fn flatten(before: &str, fields: &Thing, cells: &mut Vec<(String, String)>) {
    for (name, value) in fields {
        let name = format!("{before}{name}");
        match value {
            Value::Object(inner) => flatten(&format!("{name}."), inner, cells),
            Value::Null => cells.push((name, String::new())),
            Value::String(text) => cells.push((name, text.clone())),
            other => cells.push((name, other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::object;

    #[test]
    fn a_table_has_the_columns_of_all() {
        let labels = Value::Object(object([("run", "7".into())]));
        let things = [
            object([("batch", "b".into()), ("tasks", 3.into()), ("certificate", Value::Null)]),
            object([
                ("task", "b.1".into()),
                ("certificate", Value::Object(object([("run_ms", 5.into())]))),
                ("labels", labels),
            ]),
            object([("task", "b.2".into()), ("message", "no, \"x\"".into()), ("history", vec!["it crashed"].into())]),
        ];
        let text = |format| String::from_utf8(written(&things, format)).unwrap();
        let table = text(OutputFormat::Csv);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "batch,tasks,task,certificate.run_ms,labels.run,message,history");
        assert_eq!(lines[1..3], ["b,3,,,,,", ",,b.1,5,7,,"]);
        assert_eq!(lines[3], r#",,b.2,,,"no, ""x""","[""it crashed""]""#);
        assert!(text(OutputFormat::Tsv).starts_with("batch\ttasks\t"));
        assert_eq!(text(OutputFormat::Jsonl).lines().count(), 3);
        assert_eq!(written(&[], OutputFormat::Csv), b"");
    }
}
