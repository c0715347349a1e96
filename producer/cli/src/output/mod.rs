//! How answers look in a file or on stdout: a line of JSON each, or a row of a table.

mod columns;
mod flat;
mod table;

use std::path::Path;

use clap::ValueEnum;

pub use self::columns::between;
use self::table::Table;
use crate::record::{Answer, write_bare, write_record_of};

/// The form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// One JSON value per line
    Jsonl,
    /// Cells with commas between them, below a header
    Csv,
    /// Cells with tabs between them, below a header
    Tsv,
}

impl OutputFormat {
    /// What was asked for, else what the name of the file says.
    pub fn of(asked: Option<Self>, path: Option<&Path>) -> Self {
        let ending = || path?.extension()?.to_str().map(str::to_ascii_lowercase);
        asked.unwrap_or_else(|| match ending().as_deref() {
            Some("csv") => Self::Csv,
            Some("tsv" | "tab") => Self::Tsv,
            _ => Self::Jsonl,
        })
    }
}

/// What is written of one row or task.
pub struct Line<'a> {
    /// The row of the input, or the index of the task.
    pub index: u64,
    /// The task; none of a row that never became one.
    pub id: Option<String>,
    /// The MessagePack of its arguments, where they are known and wanted.
    pub args: Option<&'a [u8]>,
    /// What came of it.
    pub answer: &'a Answer,
}

/// Writes answers, one after the other.
pub struct Form {
    kind: Kind,
    with_args: bool,
    /// Rows with fields for which the table has no column.
    misfits: u64,
}

enum Kind {
    Bare,
    Records,
    Table(Box<Table>),
}

impl Form {
    /// `records` makes objects of lines of JSON; so does `with_args`, for a bare value has no place for them.
    pub fn new(format: OutputFormat, records: bool, with_args: bool) -> Self {
        let kind = match format {
            OutputFormat::Jsonl if records || with_args => Kind::Records,
            OutputFormat::Jsonl => Kind::Bare,
            OutputFormat::Csv => Kind::Table(Box::new(Table::new(b',', with_args))),
            OutputFormat::Tsv => Kind::Table(Box::new(Table::new(b'\t', with_args))),
        };
        Self { kind, with_args, misfits: 0 }
    }

    /// Appends what one answer becomes. A table waits with failures until the first value says what its columns are.
    pub fn write(&mut self, out: &mut Vec<u8>, line: &Line<'_>) {
        match &mut self.kind {
            Kind::Bare => write_bare(out, line.answer),
            Kind::Records => {
                let args = self.with_args.then_some(line.args);
                write_record_of(out, line.index, line.id.clone(), args, line.answer);
            }
            Kind::Table(table) => self.misfits += u64::from(!table.write(out, line)),
        }
    }

    /// Whether values stand alone, a line each.
    pub fn is_bare(&self) -> bool {
        matches!(self.kind, Kind::Bare)
    }

    /// Goes on with a table below this header.
    pub fn go_on(&mut self, header: &[String]) {
        if let Kind::Table(table) = &mut self.kind {
            table.go_on(header);
        }
    }

    /// How many answers still wait.
    pub fn waiting(&self) -> u64 {
        match &self.kind {
            Kind::Bare | Kind::Records => 0,
            Kind::Table(table) => table.waiting(),
        }
    }

    /// Appends what waited. A table without rows has a header all the same.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Kind::Table(table) = &mut self.kind {
            table.finish(out);
        }
    }

    /// A warning, if values had fields for which the table has no column.
    pub fn warning(&self) -> Option<String> {
        let rows = crate::counted::counted(self.misfits, "row");
        (self.misfits > 0).then(|| {
            format!(
                "{rows} had fields which the first value had not: they stand in the column error; --output-format jsonl \
                 has no columns"
            )
        })
    }
}
