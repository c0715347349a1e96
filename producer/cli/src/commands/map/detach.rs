//! Submits a whole batch and leaves it to itself.

use std::io::Write;
use std::sync::Arc;

use gristmill::{BatchId, Client, MapHandle};
use tokio::time::timeout;

use super::AFTER_CANCEL;
use crate::exit::Exit;
use crate::input::Findings;
use crate::say;
use crate::signals::Signals;

/// Prints the batch once all of it is submitted. What cannot be submitted as a whole is cancelled.
pub async fn run(
    client: &Client,
    handle: MapHandle<Vec<u8>>,
    findings: Arc<Findings>,
    signals: &mut Signals,
) -> Result<(), Exit> {
    let batch = handle.id();
    let detached = tokio::select! {
        biased;
        code = signals.next() => {
            let cancelled = cancel(client, batch).await;
            say!("gristmill: interrupted before all was submitted; {cancelled}");
            return Err(Exit::silent(code));
        }
        // A bad row ends the input, and all before it comes first: then nothing is on its way when it is cancelled.
        detached = handle.detach() => detached,
    };
    let wrong = match (findings.stopped_at(), findings.failed()) {
        (Some(bad), _) => format!("{}: {}", bad.place, bad.message),
        (None, Some(error)) => format!("cannot read the input: {error}"),
        (None, None) => {
            detached?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{batch}")?;
            out.flush()?;
            return Ok(());
        }
    };
    let cancelled = cancel(client, batch).await;
    Err(Exit::usage(format!("{wrong}; {cancelled}; --check looks through a file before anything is submitted")))
}

async fn cancel(client: &Client, batch: BatchId) -> String {
    match timeout(AFTER_CANCEL, client.cancel_unstarted(batch)).await {
        Ok(Ok(_)) => format!("cancelled what had not started of the batch {batch}"),
        Ok(Err(_)) | Err(_) => format!("the batch {batch} could not be cancelled"),
    }
}
