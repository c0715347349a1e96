//! The file that a map writes, and the right to write it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek};
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
    /// Of a map that was interrupted.
    begun: Option<Sidecar>,
}

/// How a map begins.
pub enum Beginning {
    /// From the first row; batches of an earlier one are of no use any more.
    Anew { of_no_use: Vec<BatchId> },
    /// After these lines, and with what these batches have done.
    GoesOn { written: Written, batches: Vec<Part> },
    /// All may have been done.
    HasLines(Written),
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
        if begun.is_some() && wish == Wish::New {
            let message = format!(
                "{} belongs to a map that was interrupted: go on with --resume, or begin anew with --restart",
                path.display()
            );
            return Err(Exit::usage(message));
        }
        Ok(Some(Self { path: path.to_owned(), file, sidecar, begun }))
    }

    /// How the input looked when it began, if it was interrupted and goes on.
    pub fn known_input(&self, wish: Wish) -> Option<&Identity> {
        self.begun.as_ref().filter(|_| wish == Wish::Resume).map(|begun| &begun.input)
    }

    /// Sees how it begins. What was begun must be the same map.
    pub fn begin(&mut self, wish: Wish, lines: Lines, now: &Sidecar) -> Result<Beginning, Exit> {
        let begun = self.begun.take();
        if wish != Wish::Resume {
            self.empty()?;
            let batches = begun.map_or_else(Vec::new, |begun| begun.batches);
            return Ok(Beginning::Anew { of_no_use: batches.iter().map(|part| part.batch).collect() });
        }
        if let Some(begun) = &begun {
            self.compare(begun, now)?;
        } else if self.file.metadata()?.len() == 0 {
            return Ok(Beginning::Anew { of_no_use: Vec::new() });
        }
        let written = written::read(&mut self.file, lines)?.map_err(|why| {
            Exit::usage(format!("cannot go on with {}: {why}; --restart begins anew", self.path.display()))
        })?;
        Ok(match begun {
            Some(begun) => Beginning::GoesOn { written, batches: begun.batches },
            None => Beginning::HasLines(written),
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
        if begun.form != now.form {
            let text = |form: &[String]| if form.is_empty() { "none of them".to_owned() } else { form.join(" ") };
            return Err(other(&text(&begun.form), &text(&now.form)));
        }
        match now.input.differs_from(&begun.input) {
            Some(why) => Err(Exit::usage(format!(
                "{path} was begun with another input ({why}): --restart begins anew with this one"
            ))),
            None => Ok(()),
        }
    }

    fn empty(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where lines are appended, and what keeps the map able to go on.
    pub fn into_parts(self, sidecar: Sidecar) -> (File, Keeper) {
        (self.file, Keeper { path: self.sidecar, sidecar, is_written: false })
    }
}

/// Keeps a map able to go on after an interruption.
pub struct Keeper {
    path: PathBuf,
    sidecar: Sidecar,
    is_written: bool,
}

impl Keeper {
    /// To be called before anything of a batch is enqueued. `earlier`: batches whose results are still wanted.
    pub fn submit(&mut self, earlier: Vec<Part>, batch: BatchId, left_out: Intervals) -> io::Result<()> {
        self.sidecar.batches = earlier;
        self.sidecar.batches.push(Part { batch, left_out });
        self.sidecar.write(&self.path)?;
        self.is_written = true;
        Ok(())
    }

    /// The map is complete.
    pub fn complete(&mut self) {
        if std::mem::replace(&mut self.is_written, false)
            && let Err(error) = fs::remove_file(&self.path)
        {
            say!(
                "gristmill: warning: cannot remove {}: {error}; the map is complete all the same",
                self.path.display()
            );
        }
    }
}
