//! What a caller holds of one task.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use gristmill_broker::Cancelled;
use gristmill_shared::codec::CodecError;
use gristmill_shared::{OutcomeKind, TaskId};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::client::Client;
use crate::collect::{self, Output, decode_raw, decode_value};
use crate::error::{ClientError, TaskError};
use crate::inspect::Progress;
use crate::status::TaskStatus;

/// One submitted task. `handle.await?` is its result; so is [`result`](Self::result), as often as it is asked for.
///
/// Dropping it changes nothing: the task runs, and its result waits in Redis. Its [`id`](Self::id) is all that is needed
/// to open it again, later and elsewhere: see [`Client::handle`].
pub struct Handle<T> {
    client: Client,
    task: TaskId,
    decode: Arc<Decode<T>>,
    known: bool,
}

type Decode<T> = dyn Fn(Vec<u8>) -> Result<T, CodecError> + Send + Sync;

impl<T> Handle<T> {
    /// The task's id: print it or store it, and open the task again by it.
    pub fn id(&self) -> TaskId {
        self.task
    }

    /// Whether its idempotency key was known when it was submitted: then this is the task that took the key, and nothing
    /// was submitted.
    pub fn was_known(&self) -> bool {
        self.known
    }

    pub(crate) fn known(mut self, known: bool) -> Self {
        self.known = known;
        self
    }

    /// Waits for the result. A task that nobody knows is an error, also where it is forgotten while this waits.
    pub async fn result(&self) -> Result<T, TaskError> {
        self.read(self.client.outcome(self.task).await)
    }

    /// The same, for no longer than this: then the error is [`TaskError::Timeout`], and the task goes on.
    pub async fn result_timeout(&self, time: Duration) -> Result<T, TaskError> {
        match timeout(time, self.result()).await {
            Ok(result) => result,
            Err(_) => Err(TaskError::Timeout { batch: self.task.batch, index: Some(self.task.index), waited: time }),
        }
    }

    /// The result if it is there, without waiting; none as long as the task has not ended.
    pub async fn try_result(&self) -> Result<Option<T>, TaskError> {
        self.client.result_present(self.task).await?.map(|output| self.read(output)).transpose()
    }

    /// Waits until the task has ended, and tells how, whatever became of its output, which is not read.
    pub async fn outcome(&self) -> Result<OutcomeKind, TaskError> {
        self.client.outcome_kind(self.task).await
    }

    /// Cancels the task: if it has not started it will not, and if it runs it is asked to end, and made to 2 s later.
    /// False: it had ended already.
    pub async fn cancel(&self) -> Result<bool, ClientError> {
        let done = cancelled(self.client.cancel_task(self.task).await?, self.task)?;
        // Of a batch that has finished nobody has looked whether it has this task.
        if !done && !self.exists().await? {
            return Err(ClientError::NoSuchTask(self.task));
        }
        Ok(done)
    }

    /// Where the task is, or how it ended.
    pub async fn status(&self) -> Result<TaskStatus, ClientError> {
        self.client.task_status(self.task).await
    }

    /// What the task tells of itself while it runs; none if no worker says that it runs.
    pub async fn progress(&self) -> Result<Option<Progress>, ClientError> {
        self.client.progress(self.task).await
    }

    /// Whether Redis knows the task. It does until the time of its results is over.
    pub async fn exists(&self) -> Result<bool, ClientError> {
        let record = self.client.batch_record(self.task.batch).await?;
        Ok(record.is_some_and(|record| self.task.index < record.tasks))
    }

    /// Deletes the result of a task that has ended, instead of leaving it to its time. False: it has not ended, or
    /// others of its batch are stored together with it ([`BatchHandle::forget`](crate::BatchHandle::forget) deletes
    /// them all). An idempotency key stays taken: within its window it leads to this task, which is gone then.
    pub async fn forget(&self) -> Result<bool, ClientError> {
        self.client.forget_task(self.task).await
    }

    /// The same task, whose result goes through `change`: so handles of different kernels become handles of one type,
    /// for [`as_completed`](crate::as_completed) and the like.
    ///
    /// ```no_run
    /// # async fn example(client: gristmill::Client) -> Result<(), gristmill::TaskError> {
    /// # gristmill::remote_kernel! { fn square(n: i64) -> i64 = "square"; }
    /// # gristmill::remote_kernel! { fn sum_sqrt(n: u64) -> f64 = "sum_sqrt"; }
    /// enum Answer {
    ///     Square(i64),
    ///     Sum(f64),
    /// }
    /// let squared = client.submit(square, 7).await?.map(Answer::Square);
    /// let sum = client.submit(sum_sqrt, 1000).await?.map(Answer::Sum);
    /// let answers: Vec<Answer> = gristmill::try_gather([squared, sum]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<U>(self, change: impl Fn(T) -> U + Send + Sync + 'static) -> Handle<U>
    where
        T: 'static,
    {
        let Self { client, task, decode, known } = self;
        Handle { client, task, decode: Arc::new(move |bytes| decode(bytes).map(&change)), known }
    }

    /// The same task, whose result stays MessagePack: handles of whatever types become alike.
    pub fn into_raw(self) -> Handle<Vec<u8>> {
        self.client.raw_handle(self.task).known(self.known)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What the caller gets.
    pub(crate) fn read(&self, output: Output) -> Result<T, TaskError> {
        collect::read(self.task, output, &*self.decode)
    }
}

/// Another hold on the same task.
impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), task: self.task, decode: self.decode.clone(), known: self.known }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.task).finish()
    }
}

impl<T: 'static> IntoFuture for Handle<T> {
    type Output = Result<T, TaskError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { self.result().await }.boxed()
    }
}

impl<'a, T> IntoFuture for &'a Handle<T> {
    type Output = Result<T, TaskError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.result().boxed()
    }
}

impl Client {
    /// A handle for a task that was submitted before, maybe by somebody else: alone, or as one of a batch. Whether there
    /// is such a task is seen when it is asked for something.
    ///
    /// ```no_run
    /// # async fn example(client: gristmill::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let id: gristmill::TaskId = std::fs::read_to_string("task.id")?.trim().parse()?;
    /// let squared = client.handle::<i64>(id).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn handle<T: DeserializeOwned + 'static>(&self, task: TaskId) -> Handle<T> {
        Handle { client: self.clone(), task, decode: Arc::new(decode_value), known: false }
    }

    /// The same, for a result that stays MessagePack.
    pub fn raw_handle(&self, task: TaskId) -> Handle<Vec<u8>> {
        Handle { client: self.clone(), task, decode: Arc::new(decode_raw), known: false }
    }
}

/// What a cancel means to whoever holds a handle: to him there is such a task.
pub(crate) fn cancelled(cancelled: Cancelled, task: TaskId) -> Result<bool, ClientError> {
    match cancelled {
        Cancelled::Done => Ok(true),
        Cancelled::AlreadyFinished => Ok(false),
        Cancelled::NoSuchBatch => Err(ClientError::NoSuchBatch(task.batch)),
        Cancelled::NoSuchTask(index) => Err(ClientError::NoSuchTask(task.batch.task(index))),
        Cancelled::TooMany => Err(ClientError::TooManyCancelled(task.batch)),
    }
}
