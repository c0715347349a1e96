//! Prints one answer per row of the input.

use std::io::Write;

use crate::args::Map;
use crate::counted::counted;
use crate::exit::Exit;
use crate::input::{BadRow, Findings};
use crate::output::{Form, Line, OutputFormat};
use crate::progress::Progress;
use crate::record::{Answer, Failed, not_kept};
use crate::resume::{Answered, Written};
use crate::say;

use super::failed::FailedFile;

/// What is gathered before it is written.
const BUFFER: usize = 64 * 1024;

pub struct Printer {
    out: Box<dyn Write>,
    form: Form,
    /// Where the rows go that did not succeed.
    failed_file: Option<FailedFile>,
    /// What a row of the input is called.
    noun: &'static str,
    /// Whether results come in any order.
    unordered: bool,
    buffer: Vec<u8>,
    printed: u64,
    failed: u64,
    /// Something could not be written.
    is_broken: bool,
    not_kept: u64,
    first_failure: Option<String>,
    progress: Progress,
}

impl Printer {
    pub fn new(out: Box<dyn Write>, failed_file: Option<FailedFile>, args: &Map) -> Self {
        let format = OutputFormat::of(args.output_format, args.output.as_deref());
        Self {
            out,
            form: Form::new(format, args.records || args.unordered, args.with_args),
            failed_file,
            noun: super::files::noun(args),
            unordered: args.unordered,
            buffer: Vec::new(),
            printed: 0,
            failed: 0,
            is_broken: false,
            not_kept: 0,
            first_failure: None,
            progress: if super::files::is_typed(args) { Progress::hidden() } else { Progress::counting("results") },
        }
    }

    /// Goes on after the lines that are there.
    pub fn go_on(&mut self, written: Written) {
        self.printed = written.rows.len();
        self.failed = written.failed.len();
        self.first_failure = written.first_failure;
        if let Some(header) = written.header {
            self.form.go_on(&header);
        }
    }

    /// Whether everything that was printed is in the output.
    pub fn is_flushed(&self) -> bool {
        self.buffer.is_empty() && self.form.waiting() == 0
    }

    /// Whether lines say nothing but values.
    pub fn is_bare(&self) -> bool {
        self.form.is_bare()
    }

    /// Rows answered. A table may wait with the first of them, until it knows its columns.
    pub fn printed(&self) -> u64 {
        self.printed
    }

    /// Rows that did not succeed.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Where the rows go that did not succeed.
    pub fn failed_file(&mut self) -> Option<&mut FailedFile> {
        self.failed_file.as_mut()
    }

    /// Prints the result of a task, and the bad rows before it.
    pub fn take(&mut self, findings: &Findings, answered: Answered) -> Result<(), Exit> {
        let Answered { row, task, result, kept } = answered;
        self.bad_rows(findings, if self.unordered { u64::MAX } else { row })?;
        let answer = Answer::from(result);
        if let (Some(file), Answer::Error(_)) = (&mut self.failed_file, &answer) {
            file.add(findings, &kept.source.unwrap_or_default())?;
        }
        self.print(&Line { index: row, id: Some(task.to_string()), args: kept.args.as_deref(), answer: &answer })
    }

    /// Prints the bad rows after the last task.
    pub fn finish(&mut self, findings: &Findings) -> Result<(), Exit> {
        self.bad_rows(findings, u64::MAX)?;
        self.end(false)
    }

    /// Nothing more will come. What waits is printed, unless another run goes on, which will know the columns.
    pub fn end(&mut self, goes_on: bool) -> Result<(), Exit> {
        if !goes_on {
            self.form.finish(&mut self.buffer);
        }
        self.flush()?;
        self.progress.end();
        if self.not_kept > 0 && self.form.is_bare() {
            say!("gristmill: {}", not_kept(self.not_kept, self.noun));
        }
        if let Some(warning) = self.form.warning() {
            say!("gristmill: warning: {warning}");
        }
        Ok(())
    }

    /// What people see meanwhile.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// One line about what failed, if anything did.
    pub fn summary(&self) -> Option<String> {
        let first = self.first_failure.as_ref()?;
        Some(format!("{} of {} did not succeed; the first: {first}", self.failed, counted(self.printed, self.noun)))
    }

    /// Whether the output or the file of what failed cannot be written.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    pub fn flush(&mut self) -> Result<(), Exit> {
        let written = self.write_buffer();
        self.is_broken |= written.is_err();
        written
    }

    fn write_buffer(&mut self) -> Result<(), Exit> {
        if !self.buffer.is_empty() {
            let (out, buffer) = (&mut self.out, &self.buffer);
            self.progress.aside(|| out.write_all(buffer).and_then(|()| out.flush()))?;
            self.buffer.clear();
        }
        self.failed_file.as_mut().map_or(Ok(()), FailedFile::flush)
    }

    fn bad_rows(&mut self, findings: &Findings, before: u64) -> Result<(), Exit> {
        while let Some(BadRow { row, message, source, .. }) = findings.take_bad_before_row(before) {
            if let Some(file) = &mut self.failed_file {
                file.add(findings, &source.unwrap_or_default())?;
            }
            let answer = Answer::Error(Failed::input(message));
            self.print(&Line { index: row, id: None, args: None, answer: &answer })?;
        }
        Ok(())
    }

    fn print(&mut self, line: &Line<'_>) -> Result<(), Exit> {
        if let Answer::Error(failed) = line.answer {
            self.failed += 1;
            let text = || format!("{} {}: {}", self.noun, line.index + 1, failed.line());
            self.first_failure.get_or_insert_with(text);
        }
        self.not_kept += u64::from(matches!(line.answer, Answer::NotKept));
        self.form.write(&mut self.buffer, line);
        self.printed += 1;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }
}
