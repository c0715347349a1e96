//! What stands in the output of an interrupted map.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use gristmill::shared::intervals::Intervals;
use serde::Deserialize;

use crate::counted::counted;
use crate::exit::one_line;
use crate::output::between;

/// Longest word about a failure.
const SAID_MAX: usize = 300;
const BUFFER: usize = 64 * 1024;

/// How lines tell which row they answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// The line n answers the row n.
    Bare,
    /// Each says the index of its row.
    Records,
    /// Rows of a table, with this between their cells.
    Table(u8),
}

/// The lines of an output.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The rows that they answer.
    pub rows: Intervals,
    /// Those of them that did not succeed.
    pub failed: Intervals,
    /// What the first of those says.
    pub first_failure: Option<String>,
    /// The header of a table.
    pub header: Option<Vec<String>>,
    /// The bytes of the whole lines. What follows was not written to its end.
    pub end: u64,
}

#[derive(Deserialize)]
struct Record {
    index: u64,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct BareError {
    #[serde(rename = "$error")]
    error: Failure,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    message: String,
}

/// Reads the whole lines of an output, and changes nothing of it. `Err` says which line cannot be.
pub fn read(file: &mut File, lines: Lines) -> io::Result<Result<Written, String>> {
    let end = end_of_last_line(file, lines)?;
    file.rewind()?;
    let input = BufReader::with_capacity(BUFFER, Read::take(&mut *file, end));
    let mut written = Written { end, ..Written::default() };
    let taken = match lines {
        Lines::Table(delimiter) => written.take_table(input, delimiter),
        Lines::Bare | Lines::Records => written.take_lines(input, lines)?,
    };
    Ok(taken.map(|()| written))
}

/// Where the last whole line ends. What follows was not written to its end.
fn end_of_last_line(file: &mut File, lines: Lines) -> io::Result<u64> {
    file.rewind()?;
    let has_quotes = matches!(lines, Lines::Table(_));
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let (mut at, mut end, mut is_quoted) = (0, 0, false);
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(end);
        }
        for &byte in piece {
            at += 1;
            match byte {
                b'"' if has_quotes => is_quoted = !is_quoted,
                // Within quotes, the end of a line is none.
                b'\n' if !is_quoted => end = at,
                _ => {}
            }
        }
        let length = piece.len();
        reader.consume(length);
    }
}

impl Written {
    fn take_table(&mut self, input: impl Read, delimiter: u8) -> Result<(), String> {
        let mut builder = csv::ReaderBuilder::new();
        let mut reader = builder.has_headers(false).flexible(true).delimiter(delimiter).from_reader(input);
        let mut cells = csv::StringRecord::new();
        for number in 0u64.. {
            let is_row = reader.read_record(&mut cells).map_err(|_| at(number, "it is no row of a table"))?;
            if !is_row {
                break;
            }
            self.take_row(&cells).map_err(|why| at(number, &why))?;
        }
        Ok(())
    }

    /// The first one is the header.
    fn take_row(&mut self, cells: &csv::StringRecord) -> Result<(), String> {
        let Some(header) = &self.header else {
            let cells: Vec<String> = cells.iter().map(str::to_owned).collect();
            between(&cells).ok_or("it is no header of a table of results")?;
            self.header = Some(cells);
            return Ok(());
        };
        if cells.len() != header.len() {
            return Err(format!("it has {}, and its header {}", counted(cells.len(), "cell"), header.len()));
        }
        let cell = |at: usize| cells.get(at).unwrap_or_default();
        let row = cell(0).parse().map_err(|_| format!("{:?} is no index", cell(0)))?;
        let (kind, message) = (cell(cells.len().saturating_sub(2)), cell(cells.len().saturating_sub(1)));
        let failure = (!kind.is_empty()).then(|| Failure { kind: kind.to_owned(), message: message.to_owned() });
        self.take(row, failure);
        Ok(())
    }

    fn take_lines(&mut self, mut input: impl BufRead, lines: Lines) -> io::Result<Result<(), String>> {
        let mut line = Vec::new();
        for number in 0.. {
            line.clear();
            if input.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            match answered(&line, number, lines) {
                Ok((row, failure)) => self.take(row, failure),
                Err(why) => return Ok(Err(at(number, why))),
            }
        }
        Ok(Ok(()))
    }

    fn take(&mut self, row: u64, failure: Option<Failure>) {
        if self.rows.insert(row)
            && let Some(Failure { kind, message }) = failure
        {
            self.failed.insert(row);
            let said = || one_line(&format!("line {}: {kind}: {message}", row + 1)).chars().take(SAID_MAX).collect();
            self.first_failure.get_or_insert_with(said);
        }
    }
}

fn at(number: u64, why: &str) -> String {
    format!("its line {}: {why}", number + 1)
}

/// The row that a line of JSON answers.
fn answered(line: &[u8], number: u64, lines: Lines) -> Result<(u64, Option<Failure>), &'static str> {
    if lines == Lines::Records {
        let record: Record = serde_json::from_slice(line).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => "it is no record",
            _ => "it is no JSON",
        })?;
        return Ok((record.index, record.error));
    }
    let bare = line.starts_with(br#"{"$error":"#).then(|| serde_json::from_slice::<BareError>(line).ok()).flatten();
    Ok((number, bare.map(|bare| bare.error)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn content(mut file: File) -> String {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn bare_lines_are_counted_and_a_torn_one_is_none() {
        let text = "1\n{\"$error\":{\"id\":null,\"kind\":\"failed\",\"message\":\"a\\nb\"}}\n\"x\"\n[1,";
        let mut out = file(text);
        let written = read(&mut out, Lines::Bare).unwrap().unwrap();
        assert_eq!((written.rows.len(), written.rows.end()), (3, 3));
        assert_eq!(written.failed.ranges().next(), Some(1..2));
        assert_eq!(written.first_failure.as_deref(), Some("line 2: failed: a b"));
        assert_eq!(written.end as usize, text.len() - 3);
        assert_eq!(content(out), text, "nothing of it is changed");
        assert_eq!(read(&mut file(""), Lines::Bare).unwrap().unwrap(), Written::default());
        let mut torn = file("12");
        assert_eq!(read(&mut torn, Lines::Records).unwrap().unwrap(), Written::default());
    }

    #[test]
    fn records_say_which_row_they_answer() {
        let text = "{\"index\":7,\"id\":\"b.7\",\"value\":1}\n{\"index\":0,\"id\":null,\"error\":{\"kind\":\"bad_input\",\
                    \"message\":\"no\"}}\n{\"index\":7,\"id\":\"b.7\",\"value\":1}\n{\"ind";
        let written = read(&mut file(text), Lines::Records).unwrap().unwrap();
        assert_eq!(written.rows.ranges().collect::<Vec<_>>(), [0..1, 7..8]);
        assert_eq!((written.failed.len(), written.first_failure.as_deref()), (1, Some("line 1: bad_input: no")));
        for (text, why) in [("7\n", "no record"), ("{\"index\":1}\nx\n", "line 2: it is no JSON")] {
            let error = read(&mut file(text), Lines::Records).unwrap().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn rows_of_a_table_may_have_several_lines() {
        let whole = "index,id,value,error_kind,error\n0,b.0,\"two\nlines, \"\"x\"\"\",,\n2,b.2,,failed,\"a\nb\"\n";
        for torn in ["", "3", "3,b.3,\"x\n", "3,b.3,\"x\n\",,"] {
            let mut out = file(&format!("{whole}{torn}"));
            let written = read(&mut out, Lines::Table(b',')).unwrap().unwrap();
            assert_eq!(written.rows.ranges().collect::<Vec<_>>(), [0..1, 2..3]);
            assert_eq!(written.first_failure.as_deref(), Some("line 3: failed: a b"));
            assert_eq!(written.header.unwrap()[2], "value");
            assert_eq!(written.end as usize, whole.len());
        }
        for (text, why) in [
            ("a,b\n", "no header"),
            ("index,id,value,error_kind,error\n1,2\n", "line 2: it has 2 cells"),
            ("index,id,value,error_kind,error\nx,,,,\n", "no index"),
        ] {
            let error = read(&mut file(text), Lines::Table(b',')).unwrap().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
