//! Tables for people, arrays of objects for programs.

use std::io::Write;

use serde_json::{Map, Value};

use crate::exit::Exit;

/// Rows that are printed as a table or, with `--json`, as one array of objects.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Map<String, Value>>,
}

struct Column {
    title: &'static str,
    field: &'static str,
}

impl Table {
    /// A table of these columns: (title, field of the object).
    pub fn new(columns: &[(&'static str, &'static str)]) -> Self {
        let columns = columns.iter().map(|&(title, field)| Column { title, field }).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row. Fields without a column are printed only as JSON.
    pub fn row(&mut self, row: Map<String, Value>) {
        self.rows.push(row);
    }

    /// Prints all rows; `empty` goes to stderr if there are none and a person reads.
    pub fn print(&self, json: bool, empty: &str) -> Result<(), Exit> {
        let mut out = std::io::stdout().lock();
        if json {
            let rows: Vec<Value> = self.rows.iter().cloned().map(Value::Object).collect();
            serde_json::to_writer(&mut out, &rows).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else if self.rows.is_empty() {
            crate::say!("{empty}");
        } else {
            out.write_all(self.text().as_bytes())?;
        }
        out.flush()?;
        Ok(())
    }

    /// The rows so far.
    pub fn rows(&self) -> &[Map<String, Value>] {
        &self.rows
    }

    /// The table as people read it.
    pub fn text(&self) -> String {
        let titles = self.columns.iter().map(|column| column.title.to_owned()).collect();
        let mut lines: Vec<Vec<String>> = vec![titles];
        for row in &self.rows {
            lines.push(self.columns.iter().map(|column| cell(row.get(column.field))).collect());
        }
        let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(Value::Bool(flag)) => if *flag { "yes" } else { "no" }.to_owned(),
        Some(other) => other.to_string(),
    }
}

/// The same text without control characters: those in a name or a note must not reach the terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An object of the given fields, in their order.
pub fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("QUEUE", "queue"), ("READY", "ready")]);
        table.row(object([("queue", "default".into()), ("ready", 12.into()), ("hidden", 1.into())]));
        table.row(object([("queue", "a\x1b".into()), ("ready", Value::Null)]));
        assert_eq!(table.text(), "QUEUE    READY\ndefault  12\na        -\n");
    }
}
