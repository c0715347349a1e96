//! What becomes of a job that has ended: its output, a line about its failure, a record, a directory.

use std::io::{self, Write};
use std::path::PathBuf;

use gristmill::shared::codec;
use gristmill::shared::exec::ExecOutput;
use gristmill::shared::kernel::Bytes;
use gristmill::{TaskError, TaskId};
use serde_json::{Map, Value, json};

use super::jobs::Job;
use super::results_dir;
use crate::args::Exec;
use crate::exit::{Exit, one_line};
use crate::json::BYTES;
use crate::progress::Progress;
use crate::record::Failed;
use crate::say;

/// Prints jobs, each as a whole.
pub struct Printer {
    json: bool,
    tag: bool,
    results_dir: Option<PathBuf>,
    progress: Progress,
    ended: u64,
    failed: u64,
}

/// How a job ended.
struct End {
    output: ExecOutput,
    /// None: it succeeded.
    failed: Option<Failed>,
}

impl Printer {
    pub fn new(args: &Exec, is_typed: bool) -> Self {
        let results_dir = args.results_dir.clone();
        // A line that moves would be in the way of somebody who types the rows.
        let progress = if is_typed { Progress::hidden() } else { Progress::counting("jobs") };
        Self { json: args.json, tag: args.tag, results_dir, progress, ended: 0, failed: 0 }
    }

    /// Jobs that have ended.
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// Jobs that did not end well.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// What people see meanwhile.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Deals with a job; true: it ended well.
    pub fn take(&mut self, task: TaskId, job: &Job, result: Result<Vec<u8>, TaskError>) -> Result<bool, Exit> {
        let end = end_of(result)?;
        self.ended += 1;
        self.failed += u64::from(end.failed.is_some());
        if let Some(dir) = &self.results_dir {
            results_dir::write(dir, job.number, &end.output, &status(task, job, &end).into())?;
        }
        if self.json {
            let line = format!("{}\n", Value::from(record(task, job, &end)));
            self.progress.aside(|| write(io::stdout(), line.as_bytes()))?;
        } else {
            let tag = self.tag.then_some(job.tag.as_str());
            self.progress.aside(|| -> Result<(), Exit> {
                write(io::stdout(), &tagged(&end.output.stdout, tag))?;
                // That nobody reads it is no reason to end.
                let _ = write(io::stderr(), &tagged(&end.output.stderr, tag));
                Ok(())
            })?;
        }
        self.progress.aside(|| tell(job, &end, self.results_dir.is_some() || self.json));
        Ok(end.failed.is_none())
    }
}

fn end_of(result: Result<Vec<u8>, TaskError>) -> Result<End, Exit> {
    match result {
        Ok(bytes) => {
            let output = codec::decode(&bytes);
            let output =
                output.map_err(|error| Exit::new(Exit::BUG, format!("exec returned something else: {error}")))?;
            Ok(End { output, failed: None })
        }
        Err(TaskError::Client(error)) => Err(error.into()),
        // It succeeded, and nobody wanted to know more.
        Err(TaskError::NotKept(_)) => Ok(End { output: ExecOutput::default(), failed: None }),
        Err(error) => {
            let output = match &error {
                TaskError::Ended(failure) => failure.details::<ExecOutput>().and_then(Result::ok),
                _ => None,
            };
            Ok(End { output: output.unwrap_or_default(), failed: Some(error.into()) })
        }
    }
}

/// What stderr says of a job besides what it wrote there itself.
fn tell(job: &Job, end: &End, elsewhere: bool) {
    let number = job.number;
    if let Some(failed) = &end.failed {
        say!("gristmill: job {number}: {}", one_line(&failed.line()));
    }
    for (name, kept, total) in streams(&end.output) {
        let kept = kept.len() as u64;
        if total > kept && !elsewhere {
            let how = if end.failed.is_some() { "" } else { "; --output-max keeps more" };
            say!("gristmill: job {number}: the last {kept} of {total} bytes of {name} are kept{how}");
        }
    }
}

fn streams(output: &ExecOutput) -> [(&'static str, &Bytes, u64); 2] {
    [("stdout", &output.stdout, output.stdout_bytes), ("stderr", &output.stderr, output.stderr_bytes)]
}

/// How a job ended, without what it wrote.
fn status(task: TaskId, job: &Job, end: &End) -> Map<String, Value> {
    let failed = end.failed.as_ref();
    let output = &end.output;
    let ran = output.exit_code.is_some() || output.signal.is_some();
    let known = |value: u64| ran.then_some(value);
    let fields = json!({
        "job": job.number,
        "id": task.to_string(),
        "argv": job.argv,
        "digest": job.digest,
        "outcome": failed.map_or("succeeded", |failed| failed.kind.as_str()),
        "exit_code": output.exit_code,
        "signal": output.signal,
        "error": failed.map(|failed| failed.message.as_str()),
        "attempt": failed.and_then(|failed| failed.attempt.map(u64::from)).or(known(output.attempt.into())).filter(|n| *n > 0),
        "stdout_bytes": known(output.stdout_bytes),
        "stderr_bytes": known(output.stderr_bytes),
        "user_ms": known(output.user_ms),
        "system_ms": known(output.system_ms),
        "max_rss_bytes": known(output.max_rss_bytes),
        "run_ms": known(output.run_ms),
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}

fn record(task: TaskId, job: &Job, end: &End) -> Map<String, Value> {
    let mut record = status(task, job, end);
    for (name, kept, _) in streams(&end.output) {
        record.insert(name.to_owned(), text_or_bytes(kept));
    }
    record
}

/// Text as text, all else as bytes.
fn text_or_bytes(bytes: &[u8]) -> Value {
    use base64::Engine;
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ BYTES: base64::engine::general_purpose::STANDARD.encode(bytes) }),
    }
}

/// The bytes with a mark before each line.
fn tagged(bytes: &[u8], tag: Option<&str>) -> Vec<u8> {
    let Some(tag) = tag else { return bytes.to_vec() };
    let mut marked = Vec::with_capacity(bytes.len() * 2);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        marked.extend_from_slice(tag.as_bytes());
        marked.push(b'\t');
        marked.extend_from_slice(line);
    }
    // The next line must not begin in the middle of this one.
    if !marked.is_empty() && !marked.ends_with(b"\n") {
        marked.push(b'\n');
    }
    marked
}

fn write(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    to.write_all(bytes).and_then(|()| to.flush())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_tagged() {
        assert_eq!(tagged(b"a\nb", Some("7")), b"7\ta\n7\tb\n");
        assert_eq!(tagged(b"", Some("7")), b"");
        assert_eq!(tagged(b"a\nb\xff", None), b"a\nb\xff");
    }

    #[test]
    fn what_is_no_text_is_shown_as_bytes() {
        assert_eq!(text_or_bytes(b"a\n"), json!("a\n"));
        assert_eq!(text_or_bytes(b"\xff"), json!({ "$bytes": "/w==" }));
    }
}
