//! Several handles at once.

use std::time::Duration;

use super::Handle;
use super::background::Background;
use crate::error::{ClientError, TaskError};
use crate::together::Until;

/// The handles as their tasks end, each with its result: an iterator.
#[must_use = "nobody waits unless it is read"]
pub struct AsCompleted<T> {
    inner: crate::AsCompleted<T>,
    /// Absent where there is no handle to wait for.
    background: Option<Background>,
}

/// The handles as their tasks end, each with its result, whether that is a value or an error: see
/// [`gristmill::as_completed`](crate::as_completed).
pub fn as_completed<T>(handles: impl IntoIterator<Item = Handle<T>>) -> AsCompleted<T> {
    let (handles, background) = apart(handles);
    AsCompleted { inner: crate::as_completed(handles), background }
}

/// The handles behind these, and where to wait for them.
fn apart<T>(handles: impl IntoIterator<Item = Handle<T>>) -> (Vec<crate::Handle<T>>, Option<Background>) {
    let (handles, backgrounds): (Vec<_>, Vec<_>) = handles.into_iter().map(Handle::into_parts).unzip();
    (handles, backgrounds.into_iter().next())
}

impl<T> AsCompleted<T> {
    /// How many handles have not come yet.
    pub fn remaining(&self) -> usize {
        self.inner.remaining()
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (Handle<T>, Result<T, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        let background = self.background.clone()?;
        match background.wait(self.inner.next()) {
            Ok(next) => next.map(|(handle, result)| (Handle::new(handle, background), result)),
            // Each of them is told that it cannot be waited for.
            Err(error) => {
                let handle = self.inner.take_any()?;
                Some((Handle::new(handle, background), Err(error.into())))
            }
        }
    }
}

/// What [`wait`] gives back.
#[derive(Debug)]
pub struct Waited<T> {
    /// The handles whose tasks have ended, with their results, in the order in which they came.
    pub done: Vec<(Handle<T>, Result<T, TaskError>)>,
    /// The others, in their order.
    pub not_done: Vec<Handle<T>>,
}

/// Waits for some or all of the tasks, and no longer than `timeout`, if there is one: see
/// [`gristmill::wait`](crate::wait).
pub fn wait<T>(
    handles: impl IntoIterator<Item = Handle<T>>,
    until: Until,
    timeout: Option<Duration>,
) -> Result<Waited<T>, ClientError> {
    let (handles, Some(background)) = apart(handles) else {
        return Ok(Waited { done: Vec::new(), not_done: Vec::new() });
    };
    let crate::Waited { done, not_done } = background.wait(async { crate::wait(handles, until, timeout).await })?;
    let own = |handle| Handle::new(handle, background.clone());
    Ok(Waited {
        done: done.into_iter().map(|(handle, result)| (own(handle), result)).collect(),
        not_done: not_done.into_iter().map(own).collect(),
    })
}

/// Waits for all tasks: their results in the order of the handles, failures among them.
pub fn gather<T>(handles: impl IntoIterator<Item = Handle<T>>) -> Result<Vec<Result<T, TaskError>>, ClientError> {
    let (handles, Some(background)) = apart(handles) else { return Ok(Vec::new()) };
    background.wait(crate::gather(handles))
}

/// Waits for all tasks: their values in the order of the handles, or the first failure. The others go on then.
pub fn try_gather<T>(handles: impl IntoIterator<Item = Handle<T>>) -> Result<Vec<T>, TaskError> {
    let (handles, Some(background)) = apart(handles) else { return Ok(Vec::new()) };
    background.wait(crate::try_gather(handles))?
}
