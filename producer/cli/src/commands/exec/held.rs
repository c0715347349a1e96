//! A directory of results that one client writes, and how the jobs go on that are interrupted.
//!
//! As for a map, a file in it names the batch as long as not all is done. Whoever goes on stops what has not started of it,
//! waits for what runs, and takes over what has ended there and is not written yet.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use gristmill::shared::intervals::Intervals;
use gristmill::{BatchId, Client, TaskId};

use super::results_dir;
use crate::commands::map::begin::{Ends, cancel, only_wanted};
use crate::counted::counted;
use crate::exit::Exit;
use crate::input::{Earlier, EndedRow, Head, Kept};
use crate::resume::{EndedRows, Identity, Part, Sidecar, stop};
use crate::say;

/// In the directory.
const SIDECAR: &str = ".gristmill";

/// A directory, held for as long as this lives: no other client writes it meanwhile.
pub struct Held {
    dir: PathBuf,
    sidecar: PathBuf,
    /// Of jobs that were interrupted.
    begun: Option<Sidecar>,
    _lock: Option<File>,
}

/// A directory with what earlier batches have done.
pub struct Begun {
    held: Held,
    now: Sidecar,
    earlier: Vec<Part>,
    /// The rows that do not run, from 0.
    left_out: Intervals,
    /// Those of them whose jobs have ended in earlier batches and are not written yet.
    pub ended: Intervals,
    /// Their results.
    pub results: EndedRows,
}

impl Held {
    pub fn open(dir: &Path) -> Result<Self, Exit> {
        results_dir::create(dir)?;
        // Some systems do not open directories, and some file systems know no locks.
        let lock = File::open(dir).ok();
        if let Some(Err(TryLockError::WouldBlock)) = lock.as_ref().map(File::try_lock) {
            let message = format!("another exec writes {}: wait for its end, or choose another one", dir.display());
            return Err(Exit::usage(message));
        }
        let sidecar = dir.join(SIDECAR);
        let begun = Sidecar::read(&sidecar).map_err(|error| {
            let path = sidecar.display();
            Exit::usage(format!("cannot read {path}: {error}; remove it to run all jobs that are not done"))
        })?;
        Ok(Self { dir: dir.to_owned(), sidecar, begun, _lock: lock })
    }

    /// How the rows looked when the jobs began that were interrupted.
    pub fn known_input(&self) -> Option<Identity> {
        self.begun.as_ref().map(|begun| begun.input.clone())
    }

    /// Stops what is left of earlier batches. With `resume` it is waited for what of them has begun.
    pub async fn begin(
        mut self,
        client: &Client,
        now: Sidecar,
        resume: bool,
        ends: &mut Ends<'_>,
    ) -> Result<Begun, Exit> {
        let begun = self.begun.take();
        if !resume {
            let batches = begun.map_or_else(Vec::new, |begun| begun.batches);
            cancel(client, &batches.iter().map(|part| part.batch).collect::<Vec<_>>()).await;
            let (earlier, left_out, ended) = (Vec::new(), Intervals::default(), Intervals::default());
            return Ok(Begun { held: self, now, earlier, left_out, ended, results: EndedRows::default() });
        }
        if let Some(begun) = &begun {
            self.compare(begun, &now)?;
        }
        let batches = begun.map_or_else(Vec::new, |begun| begun.batches);
        let mut earlier = ends.unless(stop(client, &batches)).await??;
        let written = results_dir::written(&self.dir)?;
        forget_written(&mut earlier, &batches, &written.tasks);
        let mut head = Head { ended: ended(&written.done, &earlier), left_out: written.done };
        let ended: Intervals = head.ended.iter().map(|ended| ended.row..ended.row + 1).collect();
        ended.ranges().for_each(|range| head.left_out.insert_range(range));
        if !ended.is_empty() {
            say!("gristmill: {} had ended meanwhile", counted(ended.len(), "job"));
        }
        let (head, batches) = only_wanted(head, batches);
        let results = EndedRows::new(client, head.ended, &batches);
        Ok(Begun { held: self, now, earlier: batches, left_out: head.left_out, ended, results })
    }

    fn compare(&self, begun: &Sidecar, now: &Sidecar) -> Result<(), Exit> {
        let why = match now.input.differs_from(&begun.input) {
            _ if now.form != begun.form => "another command, --env, --cwd or --stdin".to_owned(),
            Some(why) => format!("other rows ({why})"),
            None => return Ok(()),
        };
        let (dir, path) = (self.dir.display(), self.sidecar.display());
        Err(Exit::usage(format!(
            "{dir} was begun with {why}: --resume needs the rows and the command of the first run; remove {path} to run \
             again what had begun"
        )))
    }
}

impl Begun {
    /// To be called before anything of the batch is enqueued.
    pub fn submit(&mut self, batch: BatchId) -> Result<(), Exit> {
        let left_out = self.left_out.clone();
        self.now.batches = self.earlier.iter().cloned().chain([Part { batch, left_out }]).collect();
        let path = &self.held.sidecar;
        self.now.write(path).map_err(|error| Exit::usage(format!("cannot write {}: {error}", path.display())))
    }

    /// Nothing is left in Redis that is wanted.
    pub fn complete(self) {
        let path = &self.held.sidecar;
        if let Err(error) = fs::remove_file(path) {
            say!("gristmill: warning: cannot remove {}: {error}; nothing needs it any more", path.display());
        }
    }
}

/// What was written down is not taken over: if it did not succeed, it runs again.
fn forget_written(earlier: &mut [Earlier], batches: &[Part], written: &HashSet<TaskId>) {
    for (earlier, part) in earlier.iter_mut().zip(batches) {
        let left = |task: &u64| !written.contains(&part.batch.task(*task));
        earlier.finished =
            earlier.finished.ranges().flat_map(|range| range.filter(left)).map(|task| task..task + 1).collect();
    }
}

/// The rows whose jobs have ended in the batch that ran them last.
fn ended(done: &Intervals, earlier: &[Earlier]) -> VecDeque<EndedRow> {
    let (mut rows, mut met) = (VecDeque::new(), vec![0; earlier.len()]);
    for row in 0.. {
        if earlier.iter().zip(&met).all(|(earlier, met)| *met >= earlier.tasks) {
            break;
        }
        let mut last = None;
        for (number, (earlier, met)) in earlier.iter().zip(&mut met).enumerate() {
            if *met < earlier.tasks && !earlier.left_out.contains(row) {
                last = Some((number, *met));
                *met += 1;
            }
        }
        if let Some((number, task)) = last
            && !done.contains(row)
            && earlier[number].finished.contains(task)
        {
            rows.push_back(EndedRow { row, earlier: number, task, kept: Kept::default() });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(indices: &[u64]) -> Intervals {
        indices.iter().map(|&index| index..index + 1).collect()
    }

    #[test]
    fn a_row_is_taken_from_the_batch_that_ran_it_last() {
        let first = Earlier { left_out: set(&[]), tasks: 5, finished: set(&[0, 1, 2, 4]) };
        // The row 1 had failed, and runs again.
        let second = Earlier { left_out: set(&[0, 2, 4]), tasks: 3, finished: set(&[2]) };
        let rows: Vec<_> =
            ended(&set(&[0]), &[first, second]).into_iter().map(|row| (row.row, row.earlier, row.task)).collect();
        assert_eq!(rows, [(2, 0, 2), (4, 0, 4), (5, 1, 2)]);
    }

    #[test]
    fn what_was_written_down_is_not_taken_over() {
        let part = Part { batch: BatchId::new(), left_out: Intervals::default() };
        let mut earlier = [Earlier { left_out: set(&[]), tasks: 4, finished: set(&[0, 1, 3]) }];
        let written = HashSet::from([part.batch.task(1), BatchId::new().task(3)]);
        forget_written(&mut earlier, &[part], &written);
        assert_eq!(earlier[0].finished, set(&[0, 3]));
    }
}
