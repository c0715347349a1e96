//! The file that a map writes, and the right to write it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use gristmill::BatchId;
use gristmill::shared::intervals::Intervals;

use super::identity::Identity;
use super::sidecar::{Part, Sidecar};
use super::written::{self, Lines, Written};
use crate::exit::Exit;
use crate::say;

/// What is wanted of an output that may be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It is written anew, unless it belongs to a map that was interrupted.
    New,
    /// That map goes on.
    Resume,
    /// It is written anew in any case.
    Restart,
}

/// A file, held for as long as it is open: no other map writes it meanwhile.
pub struct Output {
    path: PathBuf,
    file: File,
    sidecar: PathBuf,
    /// Of a map that was interrupted, or is complete.
    begun: Option<Sidecar>,
}

/// How a map begins.
pub enum Beginning {
    /// From the first row; batches of an earlier one are of no use any more.
    Anew { of_no_use: Vec<BatchId> },
    /// After these lines, and with what these batches have done.
    GoesOn { written: Written, batches: Vec<Part> },
    /// All was done.
    Complete(Written),
}

impl Output {
    /// Opens a regular file and changes nothing of it; none: it is something else.
    pub fn open(path: &Path, wish: Wish) -> Result<Option<Self>, Exit> {
        // To open a pipe only to look at it would end it for its reader.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Ok(None);
        }
        let file = match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path) {
            Ok(file) => file,
            // It may be there to be written and not to be read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && wish != Wish::Resume => return Ok(None),
            Err(error) => return Err(Exit::usage(format!("cannot write {}: {error}", path.display()))),
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let message =
                    format!("another map writes {}: wait for its end, or choose another file", path.display());
                return Err(Exit::usage(message));
            }
            // Some file systems know no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let sidecar = Sidecar::path(path);
        let begun = match Sidecar::read(&sidecar) {
            Ok(begun) => begun,
            Err(_) if wish == Wish::Restart => None,
            Err(error) => {
                let message = format!("cannot read {}: {error}; --restart begins anew", sidecar.display());
                return Err(Exit::usage(message));
            }
        };
        if wish == Wish::New && begun.as_ref().is_some_and(|begun| begun.complete.is_none()) {
            let message = format!(
                "{} belongs to a map that was interrupted: go on with --resume, or begin anew with --restart",
                path.display()
            );
            return Err(Exit::usage(message));
        }
        Ok(Some(Self { path: path.to_owned(), file, sidecar, begun }))
    }

    /// How the input looked when it began, if that map is to go on.
    pub fn known_input(&self, wish: Wish) -> Option<&Identity> {
        self.begun.as_ref().filter(|_| wish == Wish::Resume).map(|begun| &begun.input)
    }

    /// Sees how it begins, and changes nothing yet. What was begun must be the same map.
    pub fn begin(&mut self, wish: Wish, lines: Lines, now: &Sidecar) -> Result<Beginning, Exit> {
        let begun = self.begun.take();
        if wish != Wish::Resume {
            let batches = begun.map_or_else(Vec::new, |begun| begun.batches);
            return Ok(Beginning::Anew { of_no_use: batches.iter().map(|part| part.batch).collect() });
        }
        let (path, bytes) = (self.path.display(), self.file.metadata()?.len());
        let Some(begun) = begun else {
            return match bytes {
                0 => Ok(Beginning::Anew { of_no_use: Vec::new() }),
                _ => Err(Exit::usage(format!(
                    "nothing is known of what stands in {path}, for no {} is beside it: choose another file, or \
                     overwrite it with --restart",
                    self.sidecar.display()
                ))),
            };
        };
        self.compare(&begun, now)?;
        if begun.complete.is_some_and(|then| then != bytes) {
            let message = format!("{path} was changed since its map was complete: --restart begins anew");
            return Err(Exit::usage(message));
        }
        let written = written::read(&mut self.file, lines)?
            .map_err(|why| Exit::usage(format!("cannot go on with {path}: {why}; --restart begins anew")))?;
        Ok(match begun.complete {
            None => Beginning::GoesOn { written, batches: begun.batches },
            Some(_) => Beginning::Complete(written),
        })
    }

    fn compare(&self, begun: &Sidecar, now: &Sidecar) -> Result<(), Exit> {
        let path = self.path.display();
        let other = |was: &str, is: &str| {
            Exit::usage(format!(
                "{path} was begun with {was}, and not with {is}: use that, or begin anew with --restart"
            ))
        };
        if begun.kernel != now.kernel {
            return Err(other(&format!("the kernel {}", begun.kernel), &now.kernel));
        }
        match (&begun.form[..], &now.form[..]) {
            (then, now) if then == now => {}
            ([], now) => {
                let now = now.join(" ");
                let message = format!("{path} was begun without {now}: leave that out, or begin anew with --restart");
                return Err(Exit::usage(message));
            }
            (then, []) => {
                let then = then.join(" ");
                let message = format!("{path} was begun with {then}: say so again, or begin anew with --restart");
                return Err(Exit::usage(message));
            }
            (then, now) => return Err(other(&then.join(" "), &now.join(" "))),
        }
        match now.input.differs_from(&begun.input) {
            Some(why) => Err(Exit::usage(format!(
                "{path} was begun with another input ({why}): --restart begins anew with this one"
            ))),
            None => Ok(()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where lines are appended after the first `end` bytes, all else being cut off, and what keeps the map able to go
    /// on. `stays`: that is kept when the map is complete, for whoever asks again.
    pub fn into_parts(mut self, sidecar: Sidecar, end: u64, stays: bool) -> io::Result<(File, Keeper)> {
        self.file.set_len(end)?;
        self.file.seek(SeekFrom::Start(end))?;
        let keeper = Keeper { output: self.path, path: self.sidecar, sidecar, stays, is_written: false };
        Ok((self.file, keeper))
    }
}

/// Keeps a map able to go on after an interruption.
pub struct Keeper {
    output: PathBuf,
    path: PathBuf,
    sidecar: Sidecar,
    stays: bool,
    is_written: bool,
}

impl Keeper {
    /// To be called before anything of a batch is enqueued. `earlier`: batches whose results are still wanted.
    pub fn submit(&mut self, earlier: Vec<Part>, batch: BatchId, left_out: Intervals) -> io::Result<()> {
        self.sidecar.batches = earlier;
        self.sidecar.batches.push(Part { batch, left_out });
        if let Err(error) = self.sidecar.write(&self.path) {
            // One that stands there of an earlier map says nothing true of this one, unless this one goes on with it.
            if !self.stays {
                let _ = fs::remove_file(&self.path);
            }
            return Err(error);
        }
        self.is_written = true;
        Ok(())
    }

    /// The map is complete, and all lines are in the output.
    pub fn complete(mut self) {
        if !self.stays {
            return self.forget();
        }
        self.sidecar.batches.clear();
        let written = fs::metadata(&self.output).and_then(|output| {
            self.sidecar.complete = Some(output.len());
            self.sidecar.write(&self.path)
        });
        if let Err(error) = written {
            say!("gristmill: warning: cannot note that the map is complete: {error}");
            self.forget();
        }
    }

    /// Nothing of it is needed any more.
    pub fn forget(self) {
        if self.is_written
            && let Err(error) = fs::remove_file(&self.path)
        {
            say!("gristmill: warning: cannot remove {}: {error}; nothing needs it any more", self.path.display());
        }
    }
}
