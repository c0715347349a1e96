//! What becomes of each row of the input, when a map goes on that was interrupted.

use std::collections::VecDeque;

use gristmill::shared::intervals::Intervals;
use tokio::sync::mpsc;

use super::Kept;

/// A batch that was submitted before.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// The rows that are not its business.
    pub left_out: Intervals,
    /// How many tasks it has.
    pub tasks: u64,
    /// Those whose outcomes are final and still there.
    pub finished: Intervals,
}

/// Goes through the rows of the input, in their order.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Rows whose line stands in the output.
    written: Intervals,
    earlier: Vec<Earlier>,
    /// How many tasks of each were met.
    met: Vec<u64>,
    /// Whose rows are told again as they stand in the input, and to whom.
    told: Option<(Intervals, mpsc::Sender<Vec<u8>>)>,
}

/// What becomes of a row that is a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its line stands in the output.
    Written,
    /// It has ended in an earlier batch, as this task of it.
    Ended { earlier: usize, task: u64 },
    /// It runs.
    Runs,
}

/// What the reader found among the rows that need not all run: all after them do.
#[derive(Debug, Default)]
pub struct Head {
    /// Rows that need not run.
    pub left_out: Intervals,
    /// Those of them whose lines are not written yet, in their order.
    pub ended: VecDeque<EndedRow>,
}

/// A row whose task has ended in an earlier batch.
#[derive(Debug)]
pub struct EndedRow {
    pub row: u64,
    /// Which of the earlier batches.
    pub earlier: usize,
    /// Its task there.
    pub task: u64,
    pub kept: Kept,
}

impl Plan {
    pub fn new(written: Intervals, earlier: Vec<Earlier>) -> Self {
        let met = vec![0; earlier.len()];
        Self { written, earlier, met, told: None }
    }

    /// Tells these rows, whose lines stand in the output, as they stand in the input.
    pub fn tell(mut self, rows: Intervals, to: mpsc::Sender<Vec<u8>>) -> Self {
        self.told = Some((rows, to));
        self
    }

    /// To whom this row is told.
    pub fn told(&self, row: u64) -> Option<&mpsc::Sender<Vec<u8>>> {
        self.told.as_ref().filter(|(rows, _)| rows.contains(row)).map(|(_, to)| to)
    }

    /// Whether all tasks from this row on run.
    pub fn is_past(&self, row: u64) -> bool {
        row >= self.written.end() && self.earlier.iter().zip(&self.met).all(|(earlier, met)| *met >= earlier.tasks)
    }

    /// A row that is no task: whether its line stands in the output.
    pub fn is_written(&self, row: u64) -> bool {
        self.written.contains(row)
    }

    /// The next row that is a task.
    pub fn next(&mut self, row: u64) -> Fate {
        let mut fate = if self.written.contains(row) { Fate::Written } else { Fate::Runs };
        for (number, (earlier, met)) in self.earlier.iter().zip(&mut self.met).enumerate() {
            if *met >= earlier.tasks || earlier.left_out.contains(row) {
                continue;
            }
            let task = *met;
            *met += 1;
            if fate == Fate::Runs && earlier.finished.contains(task) {
                fate = Fate::Ended { earlier: number, task };
            }
        }
        fate
    }

    /// The rows whose lines stand in the output.
    pub fn into_written(self) -> Intervals {
        self.written
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(indices: &[u64]) -> Intervals {
        indices.iter().map(|&index| index..index + 1).collect()
    }

    #[test]
    fn tasks_of_a_batch_are_counted_without_what_it_left_out() {
        let first = Earlier { left_out: Intervals::default(), tasks: 6, finished: set(&[0, 1, 2, 4]) };
        let second = Earlier { left_out: set(&[0, 1, 2, 5]), tasks: 4, finished: set(&[0, 3]) };
        let mut plan = Plan::new(set(&[0, 1]), vec![first, second]);
        // The row 3 is a bad one: no task anywhere.
        let fates: Vec<Fate> = [0, 1, 2, 4, 5].map(|row| plan.next(row)).into();
        let ended = |earlier, task| Fate::Ended { earlier, task };
        assert_eq!(fates, [Fate::Written, Fate::Written, ended(0, 2), ended(1, 0), ended(0, 4)]);
        assert!(!plan.is_past(6));
        let fates: Vec<Fate> = [6, 7, 8, 9].map(|row| plan.next(row)).into();
        assert_eq!(fates, [Fate::Runs, Fate::Runs, ended(1, 3), Fate::Runs]);
        assert!(plan.is_past(10));
    }

    proptest! {
        /// Interrupted again and again, at any place, with any of the tasks ended: each row is written once, none that
        /// ended with its outcome still there runs again, and each batch's tasks are told apart by nothing but their
        /// order.
        #[test]
        fn every_row_is_written_once_whatever_was_interrupted(
            bad in prop::collection::hash_set(0u64..30, 0..8),
            rounds in prop::collection::vec((0u64..30, any::<u32>(), any::<u32>(), any::<u32>()), 1..6),
            ordered in any::<bool>(),
        ) {
            const ROWS: u64 = 30;
            let mut written = Intervals::default();
            // For each batch: what it left out, the row of each of its tasks, and which of them have ended.
            let mut batches: Vec<(Intervals, Vec<u64>, Intervals)> = Vec::new();
            for (enqueued, ended, kept, wrote) in rounds {
                // Some outcomes were lost since the last round.
                for (_, tasks, finished) in &mut batches {
                    *finished = (0..tasks.len() as u64).filter(|task| finished.contains(*task) && kept >> (task % 32) & 1 == 1)
                        .map(|task| task..task + 1).collect();
                }
                let earlier = batches.iter().map(|(left_out, tasks, finished)| Earlier {
                    left_out: left_out.clone(), tasks: tasks.len() as u64, finished: finished.clone(),
                }).collect();
                let mut plan = Plan::new(written.clone(), earlier);
                let (mut left_out, mut tasks, mut had) = (written.clone(), Vec::new(), Intervals::default());
                for row in (0..ROWS).filter(|row| !bad.contains(row)) {
                    match plan.next(row) {
                        Fate::Written => prop_assert!(written.contains(row)),
                        Fate::Ended { earlier, task } => {
                            prop_assert!(!written.contains(row));
                            prop_assert_eq!(batches[earlier].1[task as usize], row);
                            prop_assert!(batches[earlier].2.contains(task));
                            had.insert(row);
                            left_out.insert(row);
                        }
                        Fate::Runs => {
                            prop_assert!(!written.contains(row));
                            let ended = |(_, tasks, finished): &(Intervals, Vec<u64>, Intervals)| {
                                tasks.iter().zip(0..).any(|(other, task)| *other == row && finished.contains(task))
                            };
                            prop_assert!(!batches.iter().any(ended), "the row {} ran although it had ended", row);
                            tasks.push(row);
                        }
                    }
                }
                prop_assert!(plan.is_past(ROWS));
                tasks.truncate(enqueued as usize);
                let finished: Intervals = (0..tasks.len() as u64).filter(|task| ended >> (task % 32) & 1 == 1)
                    .map(|task| task..task + 1).collect();
                // What was written before the next interruption.
                for row in 0..ROWS {
                    let task = tasks.iter().position(|other| *other == row).map(|task| task as u64);
                    let is_there = bad.contains(&row) || had.contains(row) || task.is_some_and(|task| finished.contains(task));
                    if written.contains(row) {
                        continue;
                    }
                    if is_there && wrote >> (row % 32) & 1 == 1 {
                        written.insert(row);
                    } else if ordered {
                        break;
                    }
                }
                batches.push((left_out, tasks, finished));
            }
        }
    }
}
