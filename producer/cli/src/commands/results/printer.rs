//! Prints results one after the other.

use std::fs::File;
use std::io::Write;

use gristmill::TaskError;
use gristmill::shared::TaskId;

use crate::args::Results;
use crate::counted::counted;
use crate::exit::Exit;
use crate::output::{Form, Line, OutputFormat};
use crate::progress::Progress;
use crate::record::{Answer, not_kept};
use crate::running::Running;
use crate::say;

/// What is gathered before it is written.
const BUFFER: usize = 64 * 1024;

pub struct Printer {
    out: Box<dyn Write>,
    form: Form,
    buffer: Vec<u8>,
    printed: u64,
    failed: u64,
    not_kept: u64,
    progress: Progress,
}

impl Printer {
    pub fn new(args: &Results) -> Result<Self, Exit> {
        let out: Box<dyn Write> = match &args.output {
            None => Box::new(std::io::stdout()),
            Some(path) => Box::new(
                File::create(path).map_err(|error| Exit::usage(format!("cannot write {}: {error}", path.display())))?,
            ),
        };
        let format = OutputFormat::of(args.output_format, args.output.as_deref());
        let form = Form::new(format, args.records, false);
        Ok(Self {
            out,
            form,
            buffer: Vec::new(),
            printed: 0,
            failed: 0,
            not_kept: 0,
            progress: Progress::counting("results"),
        })
    }

    /// Results so far.
    pub fn printed(&self) -> u64 {
        self.printed
    }

    /// Whether somebody sees how far it is.
    pub fn is_seen(&self) -> bool {
        self.progress.is_seen()
    }

    /// So many there will be.
    pub fn set_total(&self, total: u64) {
        self.progress.set_total(total);
    }

    /// Shows how far it is, with what runs.
    pub fn show(&self, running: &mut Running) {
        running.show(self.printed, &self.progress);
    }

    pub fn print(&mut self, task: TaskId, result: Result<Vec<u8>, TaskError>) -> Result<(), Exit> {
        let answer = Answer::from(result);
        self.failed += u64::from(matches!(answer, Answer::Error(_)));
        self.not_kept += u64::from(matches!(answer, Answer::NotKept));
        self.printed += 1;
        let line = Line { index: task.index, id: Some(task.to_string()), args: None, answer: &answer };
        self.form.write(&mut self.buffer, &line);
        if self.buffer.len() > BUFFER { self.flush() } else { Ok(()) }
    }

    pub fn flush(&mut self) -> Result<(), Exit> {
        if !self.buffer.is_empty() {
            let (out, buffer) = (&mut self.out, &self.buffer);
            self.progress.aside(|| out.write_all(buffer).and_then(|()| out.flush()))?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Prints what waits; nothing more will come.
    pub fn end(&mut self) -> Result<(), Exit> {
        self.form.finish(&mut self.buffer);
        self.flush()?;
        self.progress.end();
        if self.not_kept > 0 && self.form.is_bare() {
            say!("gristmill: {}", not_kept(self.not_kept, "task"));
        }
        if let Some(warning) = self.form.warning() {
            say!("gristmill: warning: {warning}");
        }
        Ok(())
    }

    /// One line about what failed, if anything did.
    pub fn summary(&self) -> Option<String> {
        (self.failed > 0).then(|| format!("{} of {} did not succeed", self.failed, counted(self.printed, "task")))
    }
}
