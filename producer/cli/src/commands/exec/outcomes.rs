//! Results in either order.

use gristmill::{BatchId, ClientError, MapHandle, Summary, TaskError, Unordered};

pub enum Outcomes {
    Ordered { handle: MapHandle<Vec<u8>>, next: u64 },
    Unordered(Unordered<Vec<u8>>),
}

impl Outcomes {
    pub fn of(handle: MapHandle<Vec<u8>>, unordered: bool) -> Self {
        if unordered { Self::Unordered(handle.unordered()) } else { Self::Ordered { handle, next: 0 } }
    }

    /// The next result, with the index of its task.
    pub async fn next(&mut self) -> Option<(u64, Result<Vec<u8>, TaskError>)> {
        match self {
            Self::Ordered { handle, next } => {
                let outcome = handle.next().await?;
                *next += 1;
                Some((*next - 1, outcome))
            }
            Self::Unordered(handle) => handle.next().await,
        }
    }

    pub fn batch(&self) -> BatchId {
        match self {
            Self::Ordered { handle, .. } => handle.id(),
            Self::Unordered(handle) => handle.id(),
        }
    }

    pub fn summary(&self) -> Summary {
        match self {
            Self::Ordered { handle, .. } => handle.summary(),
            Self::Unordered(handle) => handle.summary(),
        }
    }

    pub async fn cancel(&self) -> Result<(), ClientError> {
        match self {
            Self::Ordered { handle, .. } => handle.cancel().await,
            Self::Unordered(handle) => handle.cancel().await,
        }
    }

    /// Takes no further jobs and leaves the batch to itself.
    pub async fn leave(self) -> Result<(), ClientError> {
        match self {
            Self::Ordered { handle, .. } => handle.leave().await.map(drop),
            Self::Unordered(handle) => handle.leave().await.map(drop),
        }
    }
}
