//! Prints one line per line of input.

use std::io::Write;

use gristmill::{BatchId, TaskError};

use crate::args::Map;
use crate::counted::counted;
use crate::exit::Exit;
use crate::input::{BadRow, Findings};
use crate::progress::Progress;
use crate::record::{Answer, Failed, write_bare, write_record_of};

/// What is gathered before it is written.
const BUFFER: usize = 64 * 1024;

pub struct Printer {
    out: Box<dyn Write>,
    records: bool,
    /// Whether results come in any order.
    unordered: bool,
    buffer: Vec<u8>,
    printed: u64,
    failed: u64,
    first_failure: Option<String>,
    progress: Progress,
}

impl Printer {
    pub fn new(out: Box<dyn Write>, args: &Map) -> Self {
        Self {
            out,
            records: args.records || args.unordered,
            unordered: args.unordered,
            buffer: Vec::new(),
            printed: 0,
            failed: 0,
            first_failure: None,
            progress: Progress::counting("results"),
        }
    }

    /// Lines printed.
    pub fn printed(&self) -> u64 {
        self.printed
    }

    /// Prints the result of a task, and the bad lines before it.
    pub fn take(
        &mut self,
        findings: &Findings,
        batch: BatchId,
        index: u64,
        result: Result<Vec<u8>, TaskError>,
    ) -> Result<(), Exit> {
        self.bad_lines(findings, if self.unordered { u64::MAX } else { index })?;
        let answer = result.map_or_else(|error| Answer::Error(error.into()), Answer::Value);
        self.print(findings.row_of(index), Some(batch.task(index).to_string()), &answer)
    }

    /// Prints the bad lines after the last task.
    pub fn finish(&mut self, findings: &Findings) -> Result<(), Exit> {
        self.bad_lines(findings, u64::MAX)?;
        self.flush()?;
        self.progress.end();
        Ok(())
    }

    /// What people see meanwhile.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// One line about what failed, if anything did.
    pub fn summary(&self) -> Option<String> {
        let first = self.first_failure.as_ref()?;
        Some(format!("{} of {} did not succeed; the first: {first}", self.failed, counted(self.printed, "line")))
    }

    pub fn flush(&mut self) -> Result<(), Exit> {
        if !self.buffer.is_empty() {
            let (out, buffer) = (&mut self.out, &self.buffer);
            self.progress.aside(|| out.write_all(buffer).and_then(|()| out.flush()))?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn bad_lines(&mut self, findings: &Findings, before: u64) -> Result<(), Exit> {
        while let Some(BadRow { row, message, .. }) = findings.take_bad_before(before) {
            self.print(row, None, &Answer::Error(Failed::input(message)))?;
        }
        Ok(())
    }

    fn print(&mut self, line: u64, id: Option<String>, answer: &Answer) -> Result<(), Exit> {
        if let Answer::Error(failed) = answer {
            self.failed += 1;
            let text = || format!("line {}: {}", line + 1, failed.line());
            self.first_failure.get_or_insert_with(text);
        }
        if self.records {
            write_record_of(&mut self.buffer, line, id, answer);
        } else {
            write_bare(&mut self.buffer, answer);
        }
        self.printed += 1;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }
}
