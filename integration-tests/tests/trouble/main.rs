//! Redis in trouble: whatever happens to it, within 5 s of its coming back a worker works again, and so does
//! each client; every result arrives once.

mod away;
mod commands;
mod drain;
mod foreign_keys;
mod passwords;
mod refusing;
mod scene;
mod sentinels;
mod silent;

use std::collections::BTreeSet;

use gristmill::{BatchId, Client, ClientError};

/// The indices of a batch's results, each of which comes once and is a success; waits for the last.
async fn results_of(client: &Client, batch: BatchId) -> Result<BTreeSet<u64>, ClientError> {
    let mut seen = BTreeSet::new();
    let mut results = client.results(batch);
    while let Some(item) = results.next().await {
        let (index, result) = item?;
        result.unwrap_or_else(|error| panic!("{error}"));
        assert!(seen.insert(index), "the result {index} came twice");
    }
    Ok(seen)
}
