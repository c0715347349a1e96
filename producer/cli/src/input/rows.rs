//! The rows of an input in any of its formats.

use std::io::{self, Read};
use std::sync::Arc;

use super::Format;
use super::cells::{Cells, line_of};
use super::grid::Grid;
use super::lines::Lines;
use super::record::{Cell, Record};

/// Where rows come from.
pub enum Source {
    /// A file or stdin.
    Text(Box<dyn Read + Send>, Format),
    /// Parameters.
    Grid(Grid),
}

/// Reads one row after the other.
pub struct Rows {
    from: From,
    /// Rows so far.
    pub taken: u64,
    /// The row that was read last, as it stands in the input.
    line: Vec<u8>,
    too_long: bool,
    grid_cells: Option<u8>,
}

enum From {
    Lines { lines: Lines, json: bool },
    Cells(Cells),
    Grid { grid: Grid, point: Option<Record> },
}

impl Rows {
    /// Reads what stands before the rows.
    pub fn open(source: Source) -> Result<Self, String> {
        let from = match source {
            Source::Text(input, Format::Jsonl) => From::Lines { lines: Lines::new(input), json: true },
            Source::Text(input, Format::Lines) => From::Lines { lines: Lines::new(input), json: false },
            Source::Text(input, Format::Csv) => From::Cells(Cells::open(input, b',')?),
            Source::Text(input, Format::Tsv) => From::Cells(Cells::open(input, b'\t')?),
            Source::Grid(grid) => From::Grid { grid, point: None },
        };
        Ok(Self { from, taken: 0, line: Vec::new(), too_long: false, grid_cells: None })
    }

    /// The same, with points of a grid shown as rows of a table with this between its cells.
    pub fn with_grid_cells(self, delimiter: Option<u8>) -> Self {
        Self { grid_cells: delimiter, ..self }
    }

    /// The columns, if they have names.
    pub fn names(&self) -> Option<&Arc<[String]>> {
        match &self.from {
            From::Lines { .. } => None,
            From::Cells(cells) => Some(cells.names()),
            From::Grid { grid, .. } => Some(grid.names()),
        }
    }

    /// How many there are, where that is known.
    pub fn total(&self) -> Option<u64> {
        match &self.from {
            From::Grid { grid, .. } => Some(grid.total()),
            From::Lines { .. } | From::Cells(_) => None,
        }
    }

    /// The line that stands before the rows of a file.
    pub fn header(&self) -> Option<Vec<u8>> {
        match (&self.from, self.grid_cells) {
            (From::Cells(cells), _) => Some(cells.header()),
            (From::Grid { grid, .. }, Some(delimiter)) => {
                Some(line_of(grid.names().iter().map(String::as_str), delimiter))
            }
            (From::Lines { .. } | From::Grid { .. }, _) => None,
        }
    }

    fn is_grid(&self) -> bool {
        matches!(self.from, From::Grid { .. })
    }

    /// Whether they come from no text that could be shown again, and are shown as what was made of them.
    pub fn is_shown_as_json(&self) -> bool {
        self.is_grid() && self.grid_cells.is_none()
    }

    /// What speaks of all rows, in words.
    pub fn head(&self) -> &'static str {
        if self.is_grid() { "--grid" } else { "line 1" }
    }

    /// Where the row is that was read last, in words.
    pub fn place(&self) -> String {
        match &self.from {
            From::Lines { lines, .. } => format!("line {}", lines.number),
            From::Cells(cells) => format!("line {}", cells.line),
            From::Grid { .. } => format!("point {}", self.taken),
        }
    }

    /// Whether another row is here already.
    pub fn has_more(&self) -> bool {
        match &self.from {
            From::Lines { lines, .. } => lines.has_more(),
            From::Cells(cells) => cells.has_more(),
            From::Grid { .. } => true,
        }
    }

    /// The next row; what is wrong with it if it is none.
    pub fn next(&mut self) -> io::Result<Option<Result<Record, String>>> {
        let row = match &mut self.from {
            From::Lines { lines, json } => {
                self.line.clear();
                let line = lines.next()?;
                self.too_long = matches!(line, Some(Err(_)));
                line.map(|line| line.and_then(|line| read_line(line, *json, &mut self.line)))
            }
            From::Cells(cells) => cells.next()?,
            From::Grid { grid, point } => {
                *point = grid.next();
                point.clone().map(Ok)
            }
        };
        self.taken += u64::from(row.is_some());
        Ok(row)
    }

    /// The row that was read last as it stands in the input, its line end included; a point of a grid as JSON, or as
    /// cells.
    /// Nothing of a row that was too long to be read.
    pub fn source(&self) -> Vec<u8> {
        if let (From::Grid { point: Some(Record::Cells { cells, .. }), .. }, Some(delimiter)) =
            (&self.from, self.grid_cells)
        {
            return line_of(cells.iter().map(Cell::text), delimiter);
        }
        match &self.from {
            From::Lines { .. } if self.too_long => Vec::new(),
            From::Lines { .. } => [self.line.as_slice(), b"\n"].concat(),
            From::Cells(cells) => cells.source(),
            From::Grid { point, .. } => point.as_ref().map(Record::to_json_line).unwrap_or_default(),
        }
    }
}

fn read_line(mut line: Vec<u8>, json: bool, kept: &mut Vec<u8>) -> Result<Record, String> {
    for end in [b'\n', b'\r'] {
        line.pop_if(|last| *last == end);
    }
    kept.extend_from_slice(&line);
    match String::from_utf8(line) {
        Err(_) => Err("not UTF-8".into()),
        Ok(text) if !json => Ok(Record::Text(text)),
        Ok(text) if text.trim().is_empty() => Err("an empty line (write null for a kernel without parameters)".into()),
        Ok(text) => Ok(Record::Json(text)),
    }
}
