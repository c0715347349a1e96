//! What earlier batches of a map have done.

use std::collections::VecDeque;
use std::time::Duration;

use gristmill::shared::intervals::Intervals;
use gristmill::{BatchId, Cancelled, Client, ClientError, OrderedResults, OutcomeKind, TaskError, TaskId};

use super::sidecar::Part;
use crate::input::{Earlier, EndedRow, Kept};
use crate::say;

/// Whoever waits longer than that for what still runs is told.
const TOLD_AFTER: Duration = Duration::from_secs(2);

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
    let told = tokio::time::sleep(TOLD_AFTER);
    tokio::pin!(told);
    let mut is_told = false;
    loop {
        let ending = tokio::select! {
            biased;
            ending = endings.next() => ending,
            () = &mut told, if !is_told => {
                is_told = true;
                say!("gristmill: waiting for what still runs of the batch {batch}, which was interrupted");
                continue;
            }
        };
        match ending {
            None => return Ok(earlier),
            Some(Ok((task, kind))) => {
                earlier.tasks = task + 1;
                let is_final = kind.is_some_and(|kind| !matches!(kind, OutcomeKind::Cancelled | OutcomeKind::Expired));
                if is_final {
                    earlier.finished.insert(task);
                }
            }
            // It went meanwhile: all of it runs again.
            Some(Err(ClientError::NoSuchBatch(_) | ClientError::ResultsExpired { .. })) => {
                return Ok(Earlier { left_out: earlier.left_out, ..Earlier::default() });
            }
            Some(Err(error)) => return Err(error),
        }
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
