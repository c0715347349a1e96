//! Rows of cells under a header: CSV, and the same with tabs.

use std::io::{self, Read};
use std::sync::Arc;

use csv::ByteRecord;

use super::ROW_MAX;
use super::record::{Cell, Record};

const BOM: &[u8] = b"\xef\xbb\xbf";
const BUFFER: usize = 64 * 1024;

/// The rows of a file with a header.
pub struct Cells {
    reader: csv::Reader<Measured>,
    delimiter: u8,
    header: ByteRecord,
    names: Arc<[String]>,
    record: ByteRecord,
    /// Line of the file on which the last row began, from 1.
    pub line: u64,
}

impl Cells {
    /// Reads the header. An empty file has none, and no rows.
    pub fn open(input: Box<dyn Read + Send>, delimiter: u8) -> Result<Self, String> {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(delimiter).buffer_capacity(BUFFER);
        let reader = builder.from_reader(Measured::new(input));
        let (header, record) = (ByteRecord::new(), ByteRecord::new());
        let mut cells = Self { reader, delimiter, header, names: Arc::new([]), record, line: 1 };
        if cells.read().map_err(|error| error.to_string())? {
            cells.header = cells.record.clone();
            cells.names = names(&cells.header)?;
        }
        Ok(cells)
    }

    /// The columns; none of an empty file.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }

    /// The header as a line of a file.
    pub fn header(&self) -> Vec<u8> {
        line_of(&self.header, self.delimiter)
    }

    /// The row that was read last as lines of a file.
    pub fn source(&self) -> Vec<u8> {
        line_of(&self.record, self.delimiter)
    }

    /// Whether another row is here already, or the beginning of one.
    pub fn has_more(&self) -> bool {
        self.reader.position().byte() < self.reader.get_ref().last_line_ends
    }

    /// The next row. An error is the end of the input.
    pub fn next(&mut self) -> io::Result<Option<Result<Record, String>>> {
        if self.names.is_empty() {
            return Ok(None);
        }
        match self.read() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(io::Error::other(format!("line {}: {error}", self.line))),
        }
        Ok(Some(self.row()))
    }

    fn row(&self) -> Result<Record, String> {
        if self.is_cut_short() {
            return Err("a quote is opened and never closed: all that follows was read as one cell".into());
        }
        if self.record.len() != self.names.len() {
            return Err(self.ragged());
        }
        let cell = |(name, cell): (&String, &[u8])| match std::str::from_utf8(cell) {
            Ok(text) => Ok(Cell::Text(text.to_owned())),
            Err(_) => Err(format!("the column {name:?} is not UTF-8")),
        };
        let cells = self.names.iter().zip(&self.record).map(cell).collect::<Result<_, _>>()?;
        Ok(Record::Cells { names: self.names.clone(), cells })
    }

    fn ragged(&self) -> String {
        let (found, wanted) = (self.record.len(), self.names.len());
        let names = shown(&self.names.join(", "));
        let cells = crate::counted::counted(found, "cell");
        let columns = crate::counted::counted(wanted, "column");
        if found > wanted {
            let first = shown(&String::from_utf8_lossy(&self.record[wanted]));
            return format!("{cells} for {columns} ({names}): {first:?} stands in none; quote cells that hold commas");
        }
        format!("{cells} for {columns} ({names}): nothing for {:?}", self.names[found])
    }

    /// The reader of the format forgives a quote without an end, and would take the rest of a file for one cell.
    fn is_cut_short(&self) -> bool {
        let input = self.reader.get_ref();
        let is_last = input.ended && self.reader.position().byte() >= input.read;
        is_last && input.quotes % 2 == 1 && self.record.iter().next_back().is_some_and(|cell| cell.contains(&b'\n'))
    }

    fn read(&mut self) -> io::Result<bool> {
        self.line = self.reader.position().line();
        self.reader.get_mut().left = ROW_MAX;
        let is_row = self.reader.read_byte_record(&mut self.record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            _ => io::Error::other("it is no CSV"),
        })?;
        // Empty lines before it are none of its own.
        self.line = self.record.position().filter(|_| is_row).map_or(self.line, csv::Position::line);
        Ok(is_row)
    }
}

fn names(header: &ByteRecord) -> Result<Arc<[String]>, String> {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    for (i, name) in header.iter().enumerate() {
        let Ok(name) = std::str::from_utf8(name) else {
            return Err(format!("the header is not UTF-8 in its column {}", i + 1));
        };
        if name.trim().is_empty() {
            return Err(format!("column {} of the header has no name", i + 1));
        }
        if let Some(first) = names.iter().position(|other| other == name) {
            let name = shown(name);
            return Err(format!("the header names its columns {} and {} alike: {name:?}", first + 1, i + 1));
        }
        names.push(name.to_owned());
    }
    Ok(names.into())
}

fn shown(text: &str) -> String {
    if text.chars().count() <= 120 { text.to_owned() } else { text.chars().take(119).chain(['…']).collect() }
}

/// Cells as a line of a file.
pub fn line_of<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>, delimiter: u8) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().flexible(true).delimiter(delimiter).from_writer(Vec::new());
    // Into memory it cannot fail.
    let _ = writer.write_record(cells);
    writer.into_inner().unwrap_or_default()
}

/// How many rows there are below the header.
pub fn count(input: impl Read, delimiter: u8) -> io::Result<u64> {
    let mut builder = csv::ReaderBuilder::new();
    let mut reader = builder.has_headers(true).flexible(true).delimiter(delimiter).from_reader(input);
    let (mut record, mut rows) = (ByteRecord::new(), 0);
    while reader.read_byte_record(&mut record)? {
        rows += 1;
    }
    Ok(rows)
}

/// Bounds what one row may take, and knows what the parser does not tell.
struct Measured {
    input: Box<dyn Read + Send>,
    begun: bool,
    ended: bool,
    /// What the row may still take.
    left: usize,
    read: u64,
    last_line_ends: u64,
    quotes: u64,
}

impl Measured {
    fn new(input: Box<dyn Read + Send>) -> Self {
        Self { input, begun: false, ended: false, left: ROW_MAX, read: 0, last_line_ends: 0, quotes: 0 }
    }

    /// Some bytes, without the mark that some programs set before a text.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.begun || buffer.len() < BOM.len() {
            return self.input.read(buffer);
        }
        self.begun = true;
        let mut length = 0;
        while length < BOM.len() && BOM.starts_with(&buffer[..length]) {
            let more = self.input.read(&mut buffer[length..])?;
            if more == 0 {
                return Ok(length);
            }
            length += more;
        }
        if buffer[..length].starts_with(BOM) {
            buffer.copy_within(BOM.len()..length, 0);
            length -= BOM.len();
            // No bytes would mean the end.
            return if length == 0 { self.input.read(buffer) } else { Ok(length) };
        }
        Ok(length)
    }
}

impl Read for Measured {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let why = format!("a row is longer than {ROW_MAX} bytes; is a quote opened and never closed?");
            return Err(io::Error::other(why));
        }
        let most = buffer.len().min(self.left.max(BOM.len()));
        let length = self.fill(&mut buffer[..most])?;
        let found = &buffer[..length];
        self.left = self.left.saturating_sub(length);
        self.ended |= length == 0;
        self.quotes += found.iter().filter(|byte| **byte == b'"').count() as u64;
        if let Some(at) = found.iter().rposition(|byte| *byte == b'\n') {
            self.last_line_ends = self.read + at as u64 + 1;
        }
        self.read += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One byte at a time, as a slow pipe has it.
    struct Slow(&'static [u8]);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(1).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn open(text: &'static [u8]) -> Result<Cells, String> {
        let whole = Cells::open(Box::new(text), b',');
        let slow = Cells::open(Box::new(Slow(text)), b',');
        assert_eq!(
            whole.as_ref().map(|cells| cells.names().clone()).ok(),
            slow.map(|cells| cells.names().clone()).ok()
        );
        whole
    }

    fn rows(text: &'static [u8]) -> Vec<(u64, Result<Vec<String>, String>)> {
        let mut all = Vec::new();
        let mut cells = open(text).unwrap();
        while let Some(row) = cells.next().unwrap() {
            let row = row.map(|record| record.fields().into_iter().map(|(_, text)| text).collect());
            all.push((cells.line, row));
        }
        all
    }

    fn fine(text: &'static [u8]) -> Vec<Vec<String>> {
        rows(text).into_iter().map(|(_, row)| row.unwrap()).collect()
    }

    #[test]
    fn marks_line_ends_and_quotes_are_as_programs_write_them() {
        let names = open(b"\xef\xbb\xbfa,b\r\n1,2\r\n").unwrap();
        assert_eq!(names.names().join("|"), "a|b");
        assert_eq!(fine(b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n3,4"), [["1", "2"], ["3", "4"]]);
        assert_eq!(fine(b"a,b\n\"x,\"\"y\"\"\",\"two\nlines\"\n5,\n"), [["x,\"y\"", "two\nlines"], ["5", ""]]);
        assert_eq!(fine(b"a\n\"\"\nx\n"), [[""], ["x"]]);
        assert_eq!(fine(b"\xef\xbb\xbf"), [[""; 0]; 0]);
        assert_eq!(fine(b""), [[""; 0]; 0]);
        assert_eq!(fine(b"a,b"), [[""; 0]; 0]);
    }

    #[test]
    fn ragged_rows_name_the_column_and_keep_the_line() {
        let found = rows(b"a,b,c\n\"1\n1\",2,3\n4,5\n6,7,8,9\n1,\xff,3\n7,8,9\n");
        let lines: Vec<u64> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 4, 5, 6, 7]);
        let why = |row: usize| found[row].1.clone().unwrap_err();
        assert_eq!(why(1), "2 cells for 3 columns (a, b, c): nothing for \"c\"");
        assert!(why(2).contains("4 cells for 3 columns") && why(2).contains("\"9\" stands in none"), "{}", why(2));
        assert_eq!(why(3), "the column \"b\" is not UTF-8");
        assert!(found[4].1.is_ok());
    }

    #[test]
    fn a_header_that_names_nothing_is_refused() {
        for (text, why) in [
            (&b"a,b,a\n"[..], "columns 1 and 3 alike: \"a\""),
            (b"a,,b\n", "column 2 of the header has no name"),
            (b"a, \n", "column 2 of the header has no name"),
            (b"a,\xff\n", "not UTF-8 in its column 2"),
        ] {
            let Err(error) = open(text) else { panic!("{text:?}") };
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn an_open_quote_is_noticed() {
        let found = rows(b"a,b\n1,2\n3,\"four\n5,6\n7,8\n");
        assert!(found[0].1.is_ok());
        assert!(found[1].1.as_ref().unwrap_err().contains("never closed"), "{found:?}");
        assert_eq!((found.len(), found[1].0), (2, 3));
        // An inch sign is none.
        assert_eq!(fine(b"a,b\n1,5\" pipe\n"), [["1", "5\" pipe"]]);
    }

    #[test]
    fn a_row_without_end_ends_the_reading() {
        let mut cells = Cells::open(Box::new((&b"a\n\""[..]).chain(io::repeat(b'x'))), b',').unwrap();
        let error = cells.next().unwrap_err().to_string();
        assert!(error.starts_with("line 2: a row is longer than 67108864 bytes"), "{error}");
    }

    #[test]
    fn a_slow_row_is_not_waited_for() {
        let mut cells = Cells::open(Box::new(&b"a\n1\n2\n3"[..]), b',').unwrap();
        let more: Vec<bool> = std::iter::from_fn(|| cells.next().unwrap().map(|_| cells.has_more())).collect();
        assert_eq!(more, [true, false, false]);
        let mut cells = Cells::open(Box::new(Slow(b"a\n1\n2\n")), b',').unwrap();
        assert!(cells.next().unwrap().is_some() && !cells.has_more());
    }

    #[test]
    fn a_row_can_be_written_again() {
        let mut cells = Cells::open(Box::new(&b"a,b\n\"x,\"\"y\",\xff\n1\n"[..]), b',').unwrap();
        assert_eq!(cells.header(), b"a,b\n");
        cells.next().unwrap();
        assert_eq!(cells.source(), b"\"x,\"\"y\",\xff\n");
        cells.next().unwrap();
        assert_eq!(cells.source(), b"1\n");
        assert_eq!(count(&b"a,b\n\"1\n1\",2\n3,4"[..], b',').unwrap(), 2);
    }
}
