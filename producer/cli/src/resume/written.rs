//! What stands in the output of an interrupted map.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};

use gristmill::shared::intervals::Intervals;
use serde::Deserialize;

use crate::counted::counted;
use crate::exit::one_line;
use crate::output::between;

/// Longest word about a failure.
const SAID_MAX: usize = 300;

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

/// Reads the whole lines of an output, and cuts off what is left of one that was not written to its end. Whatever comes
/// next is appended. `Err` says which line cannot be.
pub fn read(file: &mut File, lines: Lines) -> io::Result<Result<Written, String>> {
    file.seek(SeekFrom::Start(0))?;
    let mut written = Written::default();
    let mut reader = BufReader::with_capacity(64 * 1024, &mut *file);
    let (mut line, mut number, mut end) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        // Within quotes, the end of a line is none.
        while reader.read_until(b'\n', &mut line)? > 0 && lines.is_open(&line) {}
        if line.last() != Some(&b'\n') || lines.is_open(&line) {
            break;
        }
        end += line.len() as u64;
        if let Err(why) = written.take(&line, number, lines) {
            return Ok(Err(format!("its line {}: {why}", number + 1)));
        }
        number += 1;
    }
    drop(reader);
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(Ok(written))
}

impl Lines {
    fn is_open(self, line: &[u8]) -> bool {
        matches!(self, Self::Table(_)) && line.iter().filter(|byte| **byte == b'"').count() % 2 == 1
    }
}

impl Written {
    /// A row of a table; nothing of its header.
    fn take_row(&mut self, line: &[u8], delimiter: u8) -> Result<Option<(u64, Option<Failure>)>, String> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(line);
        let mut row = csv::StringRecord::new();
        let cells: Vec<String> = match reader.read_record(&mut row) {
            Ok(true) => row.iter().map(str::to_owned).collect(),
            Ok(false) | Err(_) => return Err("it is no row of a table".to_owned()),
        };
        let Some(header) = &self.header else {
            between(&cells).ok_or("it is no header of a table of results")?;
            self.header = Some(cells);
            return Ok(None);
        };
        if cells.len() != header.len() {
            return Err(format!("it has {}, and its header {}", counted(cells.len(), "cell"), header.len()));
        }
        let index = cells[0].parse().map_err(|_| format!("{:?} is no index", cells[0]))?;
        let [.., kind, message] = &cells[..] else { return Ok(Some((index, None))) };
        let failure = (!kind.is_empty()).then(|| Failure { kind: kind.clone(), message: message.clone() });
        Ok(Some((index, failure)))
    }

    fn take(&mut self, line: &[u8], number: u64, lines: Lines) -> Result<(), String> {
        let (row, failure) = match lines {
            Lines::Table(delimiter) => match self.take_row(line, delimiter)? {
                Some(row) => row,
                None => return Ok(()),
            },
            Lines::Bare if !line.starts_with(br#"{"$error":"#) => (number, None),
            Lines::Bare => (number, serde_json::from_slice::<BareError>(line).ok().map(|bare| bare.error)),
            Lines::Records => {
                let record: Record = serde_json::from_slice(line).map_err(|error| match error.classify() {
                    serde_json::error::Category::Data => "it is no record".to_owned(),
                    _ => "it is no JSON".to_owned(),
                })?;
                (record.index, record.error)
            }
        };
        if self.rows.insert(row)
            && let Some(Failure { kind, message }) = failure
        {
            self.failed.insert(row);
            let said: String =
                one_line(&format!("line {}: {kind}: {message}", row + 1)).chars().take(SAID_MAX).collect();
            self.first_failure.get_or_insert(said);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

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
    fn bare_lines_are_counted_and_a_torn_one_is_cut_off() {
        let text = "1\n{\"$error\":{\"id\":null,\"kind\":\"failed\",\"message\":\"a\\nb\"}}\n\"x\"\n[1,";
        let mut out = file(text);
        let written = read(&mut out, Lines::Bare).unwrap().unwrap();
        assert_eq!((written.rows.len(), written.rows.end()), (3, 3));
        assert_eq!(written.failed.ranges().next(), Some(1..2));
        assert_eq!(written.first_failure.as_deref(), Some("line 2: failed: a b"));
        out.write_all(b"4\n").unwrap();
        assert_eq!(content(out), format!("{}4\n", text.strip_suffix("[1,").unwrap()));
        assert_eq!(read(&mut file(""), Lines::Bare).unwrap().unwrap(), Written::default());
        let mut torn = file("12");
        assert!(read(&mut torn, Lines::Records).unwrap().unwrap().rows.is_empty());
        assert_eq!(content(torn), "");
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
            assert_eq!(content(out), whole);
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
