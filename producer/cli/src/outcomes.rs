//! What comes of the tasks of a batch, in either order.

use gristmill::{BatchId, ClientError, MapHandle, Summary, TaskError, Unordered};

/// The results of a map.
pub enum Outcomes {
    /// In the order of its tasks; `next` is the index of the next one.
    Ordered { handle: MapHandle<Vec<u8>>, next: u64 },
    /// As they come.
    Unordered(Unordered<Vec<u8>>),
}

impl Outcomes {
    pub fn of(handle: MapHandle<Vec<u8>>, unordered: bool) -> Self {
        if unordered { Self::Unordered(handle.unordered()) } else { Self::Ordered { handle, next: 0 } }
    }

    /// The next result and the index of its task; none after the last. An error of the client is about no task. May be
    /// dropped and called again.
    pub async fn next(&mut self) -> Option<Result<(u64, Result<Vec<u8>, TaskError>), ClientError>> {
        let (index, result) = match self {
            Self::Ordered { handle, next } => (*next, handle.next().await?),
            Self::Unordered(handle) => handle.next().await?,
        };
        if let Err(TaskError::Client(error)) = result {
            return Some(Err(error));
        }
        if let Self::Ordered { next, .. } = self {
            *next += 1;
        }
        Some(Ok((index, result)))
    }

    pub fn is_ordered(&self) -> bool {
        matches!(self, Self::Ordered { .. })
    }

    /// The first `count` results that were given are where they belong.
    pub fn acknowledge(&self, count: u64) {
        match self {
            Self::Ordered { handle, .. } => handle.acknowledge(count),
            Self::Unordered(handle) => handle.acknowledge(count),
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

    /// Takes no further rows and leaves the batch to itself.
    pub async fn leave(self) -> Result<(), ClientError> {
        match self {
            Self::Ordered { handle, .. } => handle.leave().await.map(drop),
            Self::Unordered(handle) => handle.leave().await.map(drop),
        }
    }

    /// All has come and is acknowledged: waits until Redis has forgotten it.
    pub async fn close(self) {
        match self {
            Self::Ordered { handle, .. } => handle.close().await,
            Self::Unordered(handle) => handle.close().await,
        }
    }
}
