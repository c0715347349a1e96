//! Where tasks come from: lines of JSON, rows of CSV, points of a grid.
//!
//! A thread reads [`Rows`](rows::Rows), each a [`Record`]. Whoever implements [`Make`] turns it into the arguments of a
//! task: [`Arguments`] does so for kernels. Nothing is kept of a row unless somebody asks for it, and then only until
//! its task is answered.

mod arguments;
mod axis;
mod cells;
mod decimal;
mod findings;
mod grid;
mod lines;
mod plan;
mod reader;
mod record;
mod rows;
mod takes;

use std::fs::File;
use std::io;
use std::path::Path;

use clap::ValueEnum;
use gristmill::shared::defaults::BLOB_BYTES_MAX;

pub use self::arguments::Arguments;
pub use self::axis::Axis;
pub use self::cells::line_of;
pub use self::findings::{BadRow, Findings, Kept};
pub use self::grid::Grid;
pub use self::plan::{Earlier, EndedRow, Head, Plan};
pub use self::reader::{Input, Made, Make, Reading, Rest, check, go_on, start};
pub use self::record::Record;
pub use self::rows::Source;

/// Base64 makes bytes longer by a third; a longer row cannot become an argument.
const ROW_MAX: usize = 2 * BLOB_BYTES_MAX;

/// How a text is divided into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON value per line
    Jsonl,
    /// Cells with commas between them, below a header
    Csv,
    /// Cells with tabs between them, below a header
    Tsv,
    /// Each line is a text
    Lines,
}

impl Format {
    /// What the name of a file says of it.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            _ => None,
        }
    }

    /// What stands between cells.
    pub fn delimiter(self) -> Option<u8> {
        match self {
            Self::Csv => Some(b','),
            Self::Tsv => Some(b'\t'),
            Self::Jsonl | Self::Lines => None,
        }
    }
}

fn count(file: File, format: Format) -> io::Result<u64> {
    match format {
        Format::Jsonl | Format::Lines => lines::count(file),
        Format::Csv => cells::count(file, b','),
        Format::Tsv => cells::count(file, b'\t'),
    }
}

#[cfg(test)]
mod tests {
    use crate::arguments::ArgumentCheck;
    use std::io::{Seek, Write};
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn source(text: &str, format: Format) -> Source {
        Source::Text(Box::new(io::Cursor::new(text.to_owned())), format)
    }

    fn run(source: Source, schema: &Value, reading: Reading) -> (Arc<Findings>, Vec<String>, Option<Rest>) {
        let mut input = start(source, Box::new(Arguments::of(ArgumentCheck::by_schema(schema), false)), reading);
        let mut tasks = Vec::new();
        while let Some(portion) = input.portions.blocking_recv() {
            tasks.extend(portion.iter().map(|args| crate::json::from_msgpack(args).unwrap()));
        }
        (input.findings, tasks, input.rest.blocking_recv().ok())
    }

    fn read(text: &str, keep_going: bool) -> (Arc<Findings>, usize) {
        let reading = Reading { keep_going, ..Reading::default() };
        let (findings, tasks, _) = run(source(text, Format::Jsonl), &Value::Null, reading);
        (findings, tasks.len())
    }

    #[test]
    fn reading_stops_at_the_first_bad_line() {
        let (findings, tasks) = read("1\n2\nthree\n4\n", false);
        let bad = findings.stopped_at().unwrap();
        assert_eq!((tasks, bad.tasks_before, bad.row, bad.place.as_str()), (2, 2, 2, "line 3"));
        assert!(bad.message.starts_with("not JSON"), "{}", bad.message);
    }

    #[test]
    fn bad_lines_keep_their_place() {
        let (findings, tasks) = read("x\n1\n\n2\ny\n\n\n", true);
        assert_eq!(tasks, 2);
        let places =
            |index| -> Vec<u64> { std::iter::from_fn(|| findings.take_bad_before(index)).map(|bad| bad.row).collect() };
        assert_eq!((places(0), places(1), places(u64::MAX)), (vec![0], vec![2], vec![4]));
        assert_eq!((findings.row_of(0), findings.row_of(1)), (1, 3));
    }

    #[test]
    fn rows_are_counted_as_they_are_read() {
        let texts = ["", "1", "1\n2\n", "1\n\n2", "\n\n", "\n1\n\n \r\n", "1\r\n2\r\n\r\n", "a,b\n\"1\n1\",2\n3\n"];
        for (text, format) in texts.iter().flat_map(|text| [Format::Jsonl, Format::Csv].map(|format| (text, format))) {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.rewind().unwrap();
            let reading = Reading { keep_going: true, ..Reading::default() };
            let (findings, tasks, _) = run(source(text, format), &Value::Null, reading);
            let bad = std::iter::from_fn(|| findings.take_bad_before(u64::MAX)).count();
            assert_eq!(count(file, format).unwrap(), (tasks.len() + bad) as u64, "{text:?}");
            assert_eq!(findings.rows(), Some((tasks.len() + bad) as u64), "{text:?}");
        }
    }

    #[test]
    fn a_last_line_needs_no_end_and_marks_and_other_line_ends_are_fine() {
        assert_eq!(read("1\r\n2", false).1, 2);
        assert_eq!(read("", false).1, 0);
        assert_eq!(read("\u{feff}1\n2\n", false).1, 2);
        let check = |text| {
            check(source(text, Format::Jsonl), &mut Arguments::of(ArgumentCheck::by_schema(&Value::Null), false))
                .unwrap()
        };
        assert_eq!(check("1\n2\n"), Ok(2));
        assert_eq!(check("1\n[\n").unwrap_err().row, 1);
    }

    #[test]
    fn lines_are_texts() {
        let (_, tasks, _) = run(source("a b\r\n7\n\n\"x\"", Format::Lines), &Value::Null, Reading::default());
        assert_eq!(tasks, [r#""a b""#, r#""7""#, r#""""#, r#""\"x\"""#]);
    }

    #[test]
    fn a_bad_header_ends_the_reading_whatever_is_asked() {
        for (text, schema) in [("a,a\n1,2\n", Value::Null), ("a,b\n1,2\n", json!({ "type": "integer" }))] {
            let reading = Reading { keep_going: true, ..Reading::default() };
            let (findings, tasks, _) = run(source(text, Format::Csv), &schema, reading);
            assert_eq!((tasks.len(), findings.stopped_at().unwrap().place.as_str()), (0, "line 1"));
        }
    }

    #[test]
    fn what_is_kept_is_what_stood_there() {
        let reading = Reading { keep_sources: true, keep_args: true, keep_going: true, grid_cells: None };
        let (findings, tasks, _) = run(source("n,s\r\n1,\"x,y\"\nz\n2,\n", Format::Csv), &Value::Null, reading);
        assert_eq!(tasks.len(), 2);
        let source = |kept: Kept| String::from_utf8(kept.source.unwrap().into_vec()).unwrap();
        assert_eq!(findings.header().unwrap(), b"n,s\n");
        assert_eq!(findings.take_bad_before(u64::MAX).unwrap().source.unwrap(), b"z\n");
        assert_eq!(source(findings.take_kept(0).unwrap()), "1,\"x,y\"\n");
        assert_eq!(findings.take_kept(0), None);
        let (index, kept) = findings.take_first_kept().unwrap();
        assert_eq!((index, source(kept)), (1, "2,\n".to_owned()));
        assert_eq!(findings.take_first_kept(), None);
        let (findings, ..) = run(source_of_grid(&["a=1..2", "b=x"]), &Value::Null, reading);
        assert_eq!(source_of(findings.take_kept(1)), "{\"a\":2,\"b\":\"x\"}\n");
        let reading = Reading { grid_cells: Some(b','), ..reading };
        let (findings, ..) = run(source_of_grid(&["a=1..2", "b=x y,\"1,2\""]), &Value::Null, reading);
        assert_eq!(findings.header().unwrap(), b"a,b\n");
        assert_eq!(source_of(findings.take_kept(3)), "2,\"1,2\"\n");
    }

    fn source_of(kept: Option<Kept>) -> String {
        String::from_utf8(kept.unwrap().source.unwrap().into_vec()).unwrap()
    }

    fn source_of_grid(axes: &[&str]) -> Source {
        let axes: Vec<Axis> = axes.iter().map(|axis| axis.parse().unwrap()).collect();
        Source::Grid(Grid::new(&axes).unwrap())
    }

    #[test]
    fn a_grid_fits_its_kernel_and_its_size_is_known() {
        let (findings, tasks, _) = run(source_of_grid(&["n=1..3"]), &Value::Null, Reading::default());
        assert_eq!((tasks, findings.rows()), (vec!["1".into(), "2".into(), "3".into()], Some(3)));
        let several = json!({ "type": "array", "prefixItems": [{ "type": "integer" }, { "type": "integer" }] });
        let (_, tasks, _) = run(source_of_grid(&["a=1", "b=5,6"]), &several, Reading::default());
        assert_eq!(tasks, ["[1,5]", "[1,6]"]);
    }

    #[test]
    fn who_wants_no_more_gets_the_rest() {
        let make = Box::new(Arguments::of(ArgumentCheck::by_schema(&Value::Null), false));
        let mut input = start(source_of_grid(&["n=1..9007199254740992"]), make, Reading::default());
        let first = input.portions.blocking_recv().unwrap();
        assert_eq!(first[0], [1]);
        input.findings.halt();
        let mut rest = input.rest.blocking_recv().unwrap();
        let left = rest.left().unwrap();
        let taken = 9_007_199_254_740_992 - left;
        assert!(taken > 256 && taken < 10_000, "{taken}");
        assert_eq!(rest.next_source().unwrap(), format!("{}\n", taken + 1).into_bytes());
        let make = Box::new(Arguments::of(ArgumentCheck::by_schema(&Value::Null), false));
        let mut input = start(source("1\nx\n3\n4", Format::Jsonl), make, Reading::default());
        assert_eq!(input.portions.blocking_recv().unwrap().len(), 1);
        let mut rest = input.rest.blocking_recv().unwrap();
        assert_eq!(rest.next_source().unwrap(), b"3\n");
        assert_eq!((rest.next_source().unwrap(), rest.next_source()), (b"4\n".to_vec(), None));
    }
}
