//! Several handles at once: whichever ends first, some of them, all of them.
//!
//! Whatever their number, they share the one subscription of their client: a task that ends is told, nobody polls. Tasks
//! of one batch are read together.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::stream::{self, BoxStream, SelectAll};
use futures::{FutureExt, Stream, StreamExt};
use gristmill_shared::BatchId;
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::collect::Output;
use crate::error::{ClientError, TaskError};
use crate::handle::Handle;

/// The handles as their tasks end, each with its result. Dropping it changes nothing for the tasks.
#[must_use = "nobody waits unless it is read"]
pub struct AsCompleted<T> {
    handles: Vec<Option<Handle<T>>>,
    outcomes: SelectAll<Outcomes>,
}

/// A handle with its place and its result.
type Placed<T> = (usize, Handle<T>, Result<T, TaskError>);

/// Outcomes with the places of their handles.
type Outcomes = BoxStream<'static, (usize, Output)>;

/// Handles that wait for tasks of one batch: by index of the task, their places.
type Places = HashMap<u64, Vec<usize>>;

/// The handles as their tasks end, each with its result, whether that is a value or an error. Handles of different types
/// become alike by [`Handle::map`] or [`Handle::into_raw`].
///
/// ```no_run
/// # async fn example(client: gristmill::Client) -> Result<(), gristmill::ClientError> {
/// # gristmill::remote_kernel! { fn square(n: i64) -> i64 = "square"; }
/// let mut handles = Vec::new();
/// for n in 0..100 {
///     handles.push(client.submit(square, n).await?);
/// }
/// let mut ended = gristmill::as_completed(handles);
/// while let Some((handle, result)) = ended.next().await {
///     match result {
///         Ok(n) => println!("{}: {n}", handle.id()),
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub fn as_completed<T>(handles: impl IntoIterator<Item = Handle<T>>) -> AsCompleted<T> {
    let handles: Vec<_> = handles.into_iter().map(Some).collect();
    let mut batches: HashMap<(usize, BatchId), (Client, Places)> = HashMap::new();
    for (place, handle) in handles.iter().enumerate() {
        let Some(handle) = handle else { continue };
        let (client, task) = (handle.client(), handle.id());
        let entry = batches.entry((client.identity(), task.batch));
        let (_, places) = entry.or_insert_with(|| (client.clone(), Places::new()));
        places.entry(task.index).or_default().push(place);
    }
    let outcomes = batches.into_iter().map(|((_, batch), (client, places))| outcomes(&client, batch, places));
    AsCompleted { outcomes: stream::select_all(outcomes), handles }
}

/// The outcomes of some tasks of one batch. Nothing else of the batch is read.
fn outcomes(client: &Client, batch: BatchId, places: Places) -> Outcomes {
    let results = client.results_of(batch, places.keys().copied());
    let each = stream::unfold((results, places, None), move |(mut results, mut places, mut failed)| async move {
        let &any = places.keys().next()?;
        let (index, output) = match &failed {
            None => match results.next().await {
                Some(Ok(ended)) => ended,
                Some(Err(error)) => (any, Err(TaskError::from(failed.insert(error).clone()))),
                None => (any, Err(ClientError::NoSuchTask(batch.task(any)).into())),
            },
            // What concerns the whole batch is told to each of them.
            Some(error) => (any, Err(error.clone().into())),
        };
        let mut ended = places.remove(&index).unwrap_or_default();
        // Nearly always one handle waits for it: an output may be large, and is copied for the others alone.
        let last = ended.pop();
        let mut given: Vec<_> = ended.into_iter().map(|place| (place, output.clone())).collect();
        given.extend(last.map(|place| (place, output)));
        Some((stream::iter(given), (results, places, failed)))
    });
    each.flatten().boxed()
}

impl<T> AsCompleted<T> {
    /// The next handle whose task has ended, and its result; none after the last. May be dropped and called again.
    pub async fn next(&mut self) -> Option<(Handle<T>, Result<T, TaskError>)> {
        StreamExt::next(self).await
    }

    /// How many handles have not come yet.
    pub fn remaining(&self) -> usize {
        self.handles.iter().flatten().count()
    }

    /// The handles that have not come yet, in their order.
    pub fn into_rest(self) -> Vec<Handle<T>> {
        self.handles.into_iter().flatten().collect()
    }

    /// One that has not come, which is not waited for any more.
    pub(crate) fn take_any(&mut self) -> Option<Handle<T>> {
        self.handles.iter_mut().find_map(Option::take)
    }

    /// The next one with the place that it had among all.
    fn poll_placed(&mut self, context: &mut Context<'_>) -> Poll<Option<Placed<T>>> {
        loop {
            let Some((place, output)) = ready!(self.outcomes.poll_next_unpin(context)) else {
                return Poll::Ready(None);
            };
            if let Some(handle) = self.handles.get_mut(place).and_then(Option::take) {
                let result = handle.read(output);
                return Poll::Ready(Some((place, handle, result)));
            }
        }
    }

    async fn next_placed(&mut self) -> Option<Placed<T>> {
        std::future::poll_fn(|context| self.poll_placed(context)).await
    }
}

impl<T> Unpin for AsCompleted<T> {}

impl<T> Stream for AsCompleted<T> {
    type Item = (Handle<T>, Result<T, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_placed(context).map(|next| next.map(|(_, handle, result)| (handle, result)))
    }
}

/// What [`wait`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// One of the tasks has ended.
    First,
    /// One of the tasks has ended without success, or all have ended.
    FirstError,
    /// All have ended.
    All,
}

/// What [`wait`] gives back.
#[derive(Debug)]
pub struct Waited<T> {
    /// The handles whose tasks have ended, with their results, in the order in which they came.
    pub done: Vec<(Handle<T>, Result<T, TaskError>)>,
    /// The others, in their order.
    pub not_done: Vec<Handle<T>>,
}

/// Waits for some or all of the tasks, and no longer than `timeout`, if there is one. What this has heard of by then is done;
/// the others go on. To look without waiting, ask each handle ([`Handle::try_result`]).
pub async fn wait<T>(
    handles: impl IntoIterator<Item = Handle<T>>,
    until: Until,
    timeout: Option<Duration>,
) -> Waited<T> {
    let mut ended = as_completed(handles);
    let mut done = Vec::new();
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let next = match deadline {
            Some(deadline) => timeout_at(deadline, ended.next()).await.ok().flatten(),
            None => ended.next().await,
        };
        let Some((handle, result)) = next else { break };
        let enough = match until {
            Until::First => true,
            Until::FirstError => result.is_err(),
            Until::All => false,
        };
        done.push((handle, result));
        if enough {
            break;
        }
    }
    // What came at the same time is done as well.
    while let Some(Some(next)) = ended.next().now_or_never() {
        done.push(next);
    }
    Waited { done, not_done: ended.into_rest() }
}

/// Waits for all tasks: their results in the order of the handles, failures among them.
pub async fn gather<T>(handles: impl IntoIterator<Item = Handle<T>>) -> Vec<Result<T, TaskError>> {
    let mut ended = as_completed(handles);
    let mut results: Vec<_> = ended.handles.iter().map(|_| None).collect();
    while let Some((place, _, result)) = ended.next_placed().await {
        results[place] = Some(result);
    }
    results.into_iter().flatten().collect()
}

/// Waits for all tasks: their values in the order of the handles. The first that ends without success ends this at once;
/// the others go on, and whoever wants to cancel them keeps clones of their handles.
pub async fn try_gather<T>(handles: impl IntoIterator<Item = Handle<T>>) -> Result<Vec<T>, TaskError> {
    let mut ended = as_completed(handles);
    let mut values: Vec<_> = ended.handles.iter().map(|_| None).collect();
    while let Some((place, _, result)) = ended.next_placed().await {
        values[place] = Some(result?);
    }
    Ok(values.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn goes_to_other_threads<T: Send + Sync>() {}

    #[test]
    fn what_a_caller_holds_goes_to_other_threads_whatever_the_type_of_its_result() {
        goes_to_other_threads::<Handle<Rc<()>>>();
        goes_to_other_threads::<crate::BatchHandle>();
        goes_to_other_threads::<crate::blocking::Handle<Rc<()>>>();
        goes_to_other_threads::<crate::blocking::Client>();
        fn is_send<T: Send>() {}
        is_send::<AsCompleted<Rc<()>>>();
        is_send::<crate::MapHandle<Rc<()>>>();
        is_send::<crate::blocking::MapHandle<Rc<()>>>();
    }
}
