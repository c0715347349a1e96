//! The runtime behind a blocking client.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::ClientError;

/// Shared by a client and all that it gave; it ends with the last of them.
#[derive(Clone)]
pub(super) struct Background {
    runtime: Arc<Ending>,
}

struct Ending(Option<Runtime>);

impl Background {
    pub fn start() -> Result<Self, ClientError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("gristmill").enable_all().build();
        let runtime = runtime.map_err(|error| ClientError::Local(format!("its own thread cannot start: {error}")))?;
        Ok(Self { runtime: Arc::new(Ending(Some(runtime))) })
    }

    /// Waits for a future on this thread.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, ClientError> {
        match &self.runtime.0 {
            Some(runtime) if Handle::try_current().is_err() => Ok(runtime.block_on(future)),
            _ => Err(ClientError::InsideRuntime),
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Waits for nothing, so that it may be dropped wherever it is.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
