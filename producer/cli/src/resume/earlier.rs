//! What earlier batches of a map have done.

use std::collections::VecDeque;
use std::time::Duration;

use gristmill::shared::intervals::Intervals;
use gristmill::{BatchId, BatchRecord, Cancelled, Client, ClientError, OrderedResults, OutcomeKind, TaskError, TaskId};
use tokio::time::timeout;

use super::sidecar::Part;
use crate::counted::counted;
use crate::input::{Earlier, EndedRow, Kept};
use crate::say;

/// If nothing has ended for so long, it is looked what still runs; then less and less often.
const QUIET: Duration = Duration::from_secs(2);
const QUIET_MAX: Duration = Duration::from_secs(30);

/// Stops what has not started of these batches, waits for what runs, and says what has ended.
pub async fn stop(client: &Client, batches: &[Part]) -> Result<Vec<Earlier>, ClientError> {
    // All at once: what waits in one shall not start while another is waited for.
    let mut known = Vec::new();
    for part in batches {
        known.push(client.cancel_unstarted(part.batch).await? != Cancelled::NoSuchBatch);
    }
    let mut earlier = Vec::new();
    for (part, known) in batches.iter().zip(known) {
        let left_out = part.left_out.clone();
        earlier.push(if known {
            ended(client, part.batch, left_out).await?
        } else {
            Earlier { left_out, ..Earlier::default() }
        });
    }
    Ok(earlier)
}

async fn ended(client: &Client, batch: BatchId, left_out: Intervals) -> Result<Earlier, ClientError> {
    let mut earlier = Earlier { left_out, ..Earlier::default() };
    let mut endings = client.endings(batch);
    let (mut patience, mut is_told) = (QUIET, false);
    loop {
        let Ok(ending) = timeout(patience, endings.next()).await else {
            let (record, held) = (client.batch_record(batch).await?, client.held(batch).await?);
            match record {
                Some(record) if held == 0 => return present(client, batch, &record, earlier.left_out).await,
                Some(record) if !std::mem::replace(&mut is_told, true) => say!(
                    "gristmill: waiting for {} of the batch {batch}, which was interrupted: consumers of the queue {} \
                     have begun with them",
                    counted(held, "task"),
                    record.queue,
                ),
                _ => {}
            }
            patience = (2 * patience).min(QUIET_MAX);
            continue;
        };
        match ending {
            None => return Ok(earlier),
            Some(Ok(ending)) => {
                note(&mut earlier, ending);
                patience = QUIET;
            }
            Some(Err(error)) => return lost(earlier, error),
        }
    }
}

/// Nothing of the batch runs, and what waits is cancelled: whoever may claim it only records that. Its queue may be paused,
/// or nobody serves it, so that nobody waits for that.
async fn present(
    client: &Client,
    batch: BatchId,
    record: &BatchRecord,
    left_out: Intervals,
) -> Result<Earlier, ClientError> {
    let mut earlier = Earlier { left_out, ..Earlier::default() };
    let mut endings = client.endings_present(batch);
    while let Some(ending) = endings.next().await {
        match ending {
            Ok(ending) => note(&mut earlier, ending),
            Err(error) => return lost(earlier, error),
        }
    }
    let unsettled = record.tasks.saturating_sub(record.ended());
    if unsettled > 0 {
        say!(
            "gristmill: {} of the batch {batch} stood in the queue {}, and nobody takes from it: cancelled, to run in the \
             new batch",
            counted(unsettled, "task"),
            record.queue,
        );
    }
    earlier.tasks = record.tasks;
    Ok(earlier)
}

fn note(earlier: &mut Earlier, (task, kind): (u64, Option<OutcomeKind>)) {
    earlier.tasks = task + 1;
    if kind.is_some_and(|kind| !matches!(kind, OutcomeKind::Cancelled | OutcomeKind::Expired)) {
        earlier.finished.insert(task);
    }
}

/// What has gone meanwhile runs again as a whole.
fn lost(earlier: Earlier, error: ClientError) -> Result<Earlier, ClientError> {
    match error {
        ClientError::NoSuchBatch(_) | ClientError::ResultsExpired { .. } => {
            Ok(Earlier { left_out: earlier.left_out, ..Earlier::default() })
        }
        error => Err(error),
    }
}

/// The results of rows that have ended in earlier batches, in the order of the rows.
#[derive(Default)]
pub struct EndedRows {
    rows: VecDeque<EndedRow>,
    batches: Vec<OrderedResults>,
}

impl EndedRows {
    /// `batches` are those that the rows name.
    pub fn new(client: &Client, rows: VecDeque<EndedRow>, batches: &[Part]) -> Self {
        Self { rows, batches: batches.iter().map(|part| client.results_in_order(part.batch)).collect() }
    }

    /// The first row that was not taken yet.
    pub fn first(&self) -> Option<u64> {
        self.rows.front().map(|ended| ended.row)
    }

    /// Its result. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Answered>, ClientError> {
        let Some(&EndedRow { row, earlier, task, .. }) = self.rows.front() else { return Ok(None) };
        let results = &mut self.batches[earlier];
        results.skip_to(task);
        let id = results.id().task(task);
        let gone = |batch| ClientError::ResultsExpired { batch, missing: 1 };
        let result = match results.next().await {
            Some(Ok((_, Err(TaskError::Delivered(_) | TaskError::OutputGone(_))))) | None => {
                return Err(gone(id.batch));
            }
            Some(Ok((index, result))) if index == task => result,
            Some(Ok(_)) => return Err(gone(id.batch)),
            Some(Err(error)) => return Err(error),
        };
        let kept = self.rows.pop_front().map(|ended| ended.kept).unwrap_or_default();
        Ok(Some(Answered { row, task: id, result, kept }))
    }
}

/// A row and what came of its task.
pub struct Answered {
    pub row: u64,
    pub task: TaskId,
    pub result: Result<Vec<u8>, TaskError>,
    pub kept: Kept,
}
