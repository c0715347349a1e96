//! Real binaries on a real Redis: what a user sees, and what is left when something dies.

mod chaos;
mod deaths;
mod drain;
mod fairness;
mod fsck;
mod idle;
mod large;
mod leftovers;
mod limits;
mod memory;
mod namespaces;
mod outages;
mod parked;
mod poison;
mod preload;
mod programs;
mod recycling;
mod retried;
mod round_trip;
mod stopped;
mod strays;
mod volume;

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill::{BatchId, BatchRecord, Client, OutcomeKind, TaskError};
use gristmill_shared::codec;
use serde::de::DeserializeOwned;

/// Longer than any test takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The results of a whole batch by index; asserts that none comes twice.
async fn results<T: DeserializeOwned>(client: &Client, batch: BatchId) -> BTreeMap<u64, Result<T, TaskError>> {
    let collect = async {
        let mut found = BTreeMap::new();
        let mut results = client.results(batch);
        while let Some(item) = results.next().await {
            let (index, output) = item.expect("the batch is there");
            let output = output.map(|bytes| codec::decode(&bytes).expect("the kernel's output"));
            assert!(found.insert(index, output).is_none(), "the result {index} came twice");
        }
        found
    };
    let found = tokio::time::timeout(PATIENCE, collect).await.expect("the batch finishes");
    let record = client.batch_record(batch).await.expect("Redis answers").expect("the batch is there");
    assert_eq!(Some(found.len() as u64), record.total, "the stream ended early: {record:?}");
    found
}

/// The kinds of outcome of a batch by index.
async fn kinds(client: &Client, batch: BatchId) -> Vec<OutcomeKind> {
    let results = results::<()>(client, batch).await;
    results.into_values().map(|result| result.map_or_else(|error| kind(&error), |()| OutcomeKind::Succeeded)).collect()
}

/// How a task ended that did not succeed.
fn kind(error: &TaskError) -> OutcomeKind {
    error.kind().unwrap_or_else(|| panic!("{error}"))
}

/// Asserts that every task of a finished batch has exactly one outcome, and returns the batch.
async fn one_outcome_each(client: &Client, batch: BatchId, tasks: u64) -> BatchRecord {
    let record = client.batch_record(batch).await.expect("Redis answers").expect("the batch is there");
    assert_eq!((record.tasks, record.total, record.ended()), (tasks, Some(tasks), tasks), "{record:?}");
    assert_eq!(record.state, gristmill::BatchState::Finished);
    record
}
