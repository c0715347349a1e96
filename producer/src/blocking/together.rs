//! Several handles at once.

use std::collections::HashMap;
use std::time::Duration;

use super::Handle;
use super::background::Background;
use crate::error::{ClientError, TaskError};
use crate::together::Until;

/// The handles as their tasks end, each with its result: an iterator.
#[must_use = "nobody waits unless it is read"]
pub struct AsCompleted<T> {
    inner: crate::AsCompleted<T>,
    backgrounds: Backgrounds,
}

/// The runtimes of the handles' clients, by client. Each carries the connections of its client, so all of them live for
/// as long as any handle is waited for.
struct Backgrounds {
    /// Where to wait; absent where there is no handle to wait for.
    first: Option<Background>,
    all: HashMap<usize, Background>,
}

impl Backgrounds {
    /// Gives a handle back with the runtime that it came with.
    fn own<T>(&self, handle: crate::Handle<T>) -> Option<Handle<T>> {
        let background = self.all.get(&handle.client().identity())?.clone();
        Some(Handle::new(handle, background))
    }
}

/// The handles as their tasks end, each with its result, whether that is a value or an error: see
/// [`gristmill::as_completed`](crate::as_completed).
pub fn as_completed<T>(handles: impl IntoIterator<Item = Handle<T>>) -> AsCompleted<T> {
    let (handles, backgrounds) = apart(handles);
    AsCompleted { inner: crate::as_completed(handles), backgrounds }
}

/// The handles behind these, and their runtimes.
fn apart<T>(handles: impl IntoIterator<Item = Handle<T>>) -> (Vec<crate::Handle<T>>, Backgrounds) {
    let mut backgrounds = Backgrounds { first: None, all: HashMap::new() };
    let apart = handles.into_iter().map(|handle| {
        let (handle, background) = handle.into_parts();
        backgrounds.first.get_or_insert_with(|| background.clone());
        backgrounds.all.insert(handle.client().identity(), background);
        handle
    });
    (apart.collect(), backgrounds)
}

impl<T> AsCompleted<T> {
    /// How many handles have not come yet.
    pub fn remaining(&self) -> usize {
        self.inner.remaining()
    }

    /// The handles that have not come yet, in their order. To wait no longer than some time, see [`wait`].
    pub fn into_rest(self) -> Vec<Handle<T>> {
        self.inner.into_rest().into_iter().filter_map(|handle| self.backgrounds.own(handle)).collect()
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (Handle<T>, Result<T, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        match self.backgrounds.first.as_ref()?.wait(self.inner.next()) {
            Ok(next) => next.and_then(|(handle, result)| Some((self.backgrounds.own(handle)?, result))),
            // Each of them is told that it cannot be waited for.
            Err(error) => {
                let handle = self.inner.take_any()?;
                Some((self.backgrounds.own(handle)?, Err(error.into())))
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
    let (handles, backgrounds) = apart(handles);
    let Some(background) = &backgrounds.first else {
        return Ok(Waited { done: Vec::new(), not_done: Vec::new() });
    };
    let crate::Waited { done, not_done } = background.wait(async { crate::wait(handles, until, timeout).await })?;
    let own = |handle| backgrounds.own(handle);
    Ok(Waited {
        done: done.into_iter().filter_map(|(handle, result)| Some((own(handle)?, result))).collect(),
        not_done: not_done.into_iter().filter_map(own).collect(),
    })
}

/// Waits for all tasks: their results in the order of the handles, failures among them.
pub fn gather<T>(handles: impl IntoIterator<Item = Handle<T>>) -> Result<Vec<Result<T, TaskError>>, ClientError> {
    let (handles, backgrounds) = apart(handles);
    let Some(background) = &backgrounds.first else { return Ok(Vec::new()) };
    background.wait(crate::gather(handles))
}

/// Waits for all tasks: their values in the order of the handles, or the first failure. The others go on then.
pub fn try_gather<T>(handles: impl IntoIterator<Item = Handle<T>>) -> Result<Vec<T>, TaskError> {
    let (handles, backgrounds) = apart(handles);
    let Some(background) = &backgrounds.first else { return Ok(Vec::new()) };
    background.wait(crate::try_gather(handles))?
}
