//! The file of what did not succeed, for another run.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::counted::counted;
use crate::exit::Exit;
use crate::input::{Findings, Rest};
use crate::say;

/// The thread that reads the input may wait for somebody who writes it.
const READER_PATIENCE: Duration = Duration::from_secs(2);
/// More points of a grid than that are not written down.
const POINTS_MAX: u64 = 10_000_000;

/// Rows of the input, as they stand there.
pub struct FailedFile {
    path: PathBuf,
    out: BufWriter<File>,
    begun: bool,
}

impl FailedFile {
    /// Empties the file.
    pub fn create(path: &Path) -> Result<Self, Exit> {
        let mut file = Self::open(path)?;
        file.empty()?;
        Ok(file)
    }

    /// Leaves in the file what is there, until it is emptied.
    pub fn open(path: &Path) -> Result<Self, Exit> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| Exit::usage(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self { path: path.to_owned(), out: BufWriter::new(file), begun: false })
    }

    /// From here on rows are written.
    pub fn empty(&mut self) -> Result<(), Exit> {
        let file = self.out.get_ref();
        // Pipes and devices have nothing to cut off.
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file { file.set_len(0).map_err(|error| self.unwritable(&error)) } else { Ok(()) }
    }

    /// Writes one row; before the first, the header of the input, if it has one.
    pub fn add(&mut self, findings: &Findings, source: &[u8]) -> Result<(), Exit> {
        if !std::mem::replace(&mut self.begun, true) {
            let header = findings.header().unwrap_or_default();
            self.write(&header)?;
        }
        self.write(source)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Exit> {
        self.out.write_all(bytes).map_err(|error| self.unwritable(&error))
    }

    /// What was written so far is in the file.
    pub fn flush(&mut self) -> Result<(), Exit> {
        self.out.flush().map_err(|error| self.unwritable(&error))
    }

    fn unwritable(&self, error: &io::Error) -> Exit {
        Exit::usage(format!("cannot write {}: {error}", self.path.display()))
    }

    /// Writes what was not answered: tasks from the index `from` on, and what nobody has read.
    pub async fn add_rest(&mut self, findings: &Findings, unread: Unread, from: u64) -> Result<(), Exit> {
        let rest = unread.take(findings).await;
        while let Some(bad) = findings.take_bad_before(u64::MAX) {
            self.add(findings, &bad.source.unwrap_or_default())?;
        }
        while let Some((index, kept)) = findings.take_first_kept() {
            if index >= from {
                self.add(findings, &kept.source.unwrap_or_default())?;
            }
        }
        if let Some(bad) = findings.stopped_at() {
            self.add(findings, &bad.source.unwrap_or_default())?;
        }
        match rest {
            Left::Nothing => {}
            Left::Rows(rest) => self.drain(findings, *rest)?,
            Left::Unknown => {
                say!("gristmill: what was not read of the input is not in {}", self.path.display());
            }
        }
        self.flush()
    }

    fn drain(&mut self, findings: &Findings, mut rest: Rest) -> Result<(), Exit> {
        if let Some(points) = rest.left().filter(|left| *left > POINTS_MAX) {
            say!(
                "gristmill: {} of the grid were not begun, too many to be in {}",
                counted(points, "point"),
                self.path.display()
            );
            return Ok(());
        }
        while let Some(source) = rest.next_source() {
            self.add(findings, &source)?;
        }
        Ok(())
    }
}

/// What nobody has read of the input.
pub struct Unread {
    rest: oneshot::Receiver<Rest>,
    /// It can be read without waiting for anybody.
    is_there: bool,
}

enum Left {
    Nothing,
    Rows(Box<Rest>),
    Unknown,
}

impl Unread {
    pub fn new(rest: oneshot::Receiver<Rest>, is_there: bool) -> Self {
        Self { rest, is_there }
    }

    /// Ends the reading.
    async fn take(self, findings: &Findings) -> Left {
        findings.halt();
        match timeout(READER_PATIENCE, self.rest).await {
            // The reader came to the end.
            Ok(Err(_)) => Left::Nothing,
            Ok(Ok(rest)) if self.is_there => Left::Rows(Box::new(rest)),
            Ok(Ok(_)) | Err(_) => Left::Unknown,
        }
    }
}
