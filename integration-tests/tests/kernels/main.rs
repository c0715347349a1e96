//! What the author of a kernel sees: state, progress, errors; by the means that authors have for their own tests.

mod errors;
mod mill;
mod progress;
mod state;

use gristmill::{Client, SubmitOptions, TaskError, TaskFailure};
use gristmill_worker::testing::{Mill, MillOptions};

/// The program under test.
const WORKER: &str = env!("CARGO_BIN_EXE_stateful-worker");

/// The test worker, as its author would start it.
fn mill() -> MillOptions {
    MillOptions::new(WORKER)
}

async fn client(mill: &Mill) -> Client {
    Client::connect(&mill.url()).await.unwrap()
}

/// How a task of this kernel fails.
async fn failure(client: &Client, kernel: &str, args: impl serde::Serialize + Send) -> TaskFailure {
    let options = SubmitOptions::new();
    let handle = client.submit_dyn::<()>(kernel, &args, &options).await.unwrap();
    match handle.result().await {
        Err(TaskError::Ended(failure)) => failure,
        other => panic!("{kernel} should have failed: {other:?}"),
    }
}
