//! One row, before it becomes the arguments of a task.

use std::sync::Arc;

use serde_json::Value;

/// A row of the input.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A line of JSON, not read yet.
    Json(String),
    /// A line as it stands, without its end.
    Text(String),
    /// Cells under their columns, or a point of a grid under its parameters.
    Cells {
        /// The columns.
        names: Arc<[String]>,
        /// As many.
        cells: Vec<Cell>,
    },
}

/// What stands in one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// As a file has it.
    Text(String),
    /// As a grid has it.
    Value(Value),
}

impl Cell {
    /// As a program would take it on its command line.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Value(value) => plain(value),
        }
    }
}

impl Record {
    /// The cells as one JSON object, with a line end; nothing of a row that is a text already.
    pub fn to_json_line(&self) -> Vec<u8> {
        let Self::Cells { names, cells } = self else { return Vec::new() };
        let fields = names.iter().zip(cells).map(|(name, cell)| {
            let value = match cell {
                Cell::Text(text) => text.as_str().into(),
                Cell::Value(value) => value.clone(),
            };
            format!("{}:{value}", Value::from(name.as_str()))
        });
        format!("{{{}}}\n", fields.collect::<Vec<_>>().join(",")).into_bytes()
    }

    /// The whole row, for `{}`: the text of a line, the cells with blanks between them.
    pub fn text(&self) -> String {
        match self {
            Self::Json(line) => match serde_json::from_str(line) {
                Ok(value) => plain(&value),
                Err(_) => line.trim().to_owned(),
            },
            Self::Text(line) => line.clone(),
            Self::Cells { cells, .. } => cells.iter().map(Cell::text).collect::<Vec<_>>().join(" "),
        }
    }

    /// What `{name}` stands for: the columns, or the fields of a JSON object.
    pub fn fields(&self) -> Vec<(String, String)> {
        match self {
            Self::Json(line) => match serde_json::from_str(line) {
                Ok(Value::Object(fields)) => fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
                _ => Vec::new(),
            },
            Self::Text(_) => Vec::new(),
            Self::Cells { names, cells } => names.iter().cloned().zip(cells.iter().map(Cell::text)).collect(),
        }
    }
}

/// A string is its text, all else its JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
