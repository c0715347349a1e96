//! Where arguments come from. A source that fails ends: what it gave before runs, and its error is the last that the
//! reader of the results gets.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};
use gristmill_shared::codec;
use serde::Serialize;

use super::feed::Source;
use crate::error::ClientError;

/// Why a source has ended early; whoever asks takes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<ClientError>>>);

impl Failure {
    pub fn take(&self) -> Option<ClientError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: ClientError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// The MessagePack of an item, or why there is none.
pub(super) fn encoded<A: Serialize, E>(item: Result<A, E>) -> Result<Vec<u8>, ClientError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let item = item.map_err(|error| ClientError::Source(error.into().into()))?;
    Ok(codec::encode(&item)?)
}

/// A source that ends where this one fails, and then why.
pub(super) fn until_failure(source: Source) -> (Source, Failure) {
    let failure = Failure::default();
    (UntilFailure { source: Some(source), failure: failure.clone() }.boxed(), failure)
}

struct UntilFailure {
    source: Option<Source>,
    failure: Failure,
}

impl Stream for UntilFailure {
    type Item = Result<Vec<u8>, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let next = ready!(source.poll_next_unpin(context));
        match next {
            Some(Err(error)) => {
                self.failure.set(error);
                self.source = None;
                Poll::Ready(None)
            }
            Some(item) => Poll::Ready(Some(item)),
            // Not asked again: not every iterator bears that.
            None => {
                self.source = None;
                Poll::Ready(None)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.source.as_ref().map_or((0, Some(0)), Stream::size_hint)
    }
}
