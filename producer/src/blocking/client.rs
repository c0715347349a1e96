//! The client.

use std::future::Future;

use gristmill_shared::{BatchId, Kernel, TaskId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::background::Background;
use super::{BatchHandle, Handle, MapHandle, Unordered};
use crate::builder::ClientBuilder;
use crate::error::ClientError;
use crate::options::SubmitOptions;

/// [`gristmill::Client`](crate::Client) for programs without async.
#[derive(Clone)]
pub struct Client {
    inner: crate::Client,
    background: Background,
}

impl Client {
    /// Connects to a Redis, with the defaults for everything else.
    pub fn connect(url: impl Into<String>) -> Result<Self, ClientError> {
        Self::from_builder(crate::Client::builder().endpoint(url))
    }

    /// Connects with other settings: `Client::from_builder(gristmill::Client::builder().namespace("mine"))`.
    pub fn from_builder(builder: ClientBuilder) -> Result<Self, ClientError> {
        let background = Background::start()?;
        let inner = background.wait(builder.connect())??;
        Ok(Self { inner, background })
    }

    /// The same client with other options for whatever is submitted through it.
    #[must_use]
    pub fn with(&self, options: SubmitOptions) -> Self {
        Self { inner: self.inner.with(options), background: self.background.clone() }
    }

    /// The client behind it, for whatever has no blocking form: see [`Client::wait`].
    pub fn inner(&self) -> &crate::Client {
        &self.inner
    }

    /// Waits for any future about the client behind it: `client.wait(client.inner().queues())??`.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, ClientError> {
        self.background.wait(future)
    }

    /// Submits one task. When this returns, the task is in Redis.
    pub fn submit<K: Kernel>(&self, kernel: K, args: K::Args) -> Result<Handle<K::Output>, ClientError> {
        self.submit_with(kernel, args, &SubmitOptions::default())
    }

    /// Submits one task with options.
    pub fn submit_with<K: Kernel>(
        &self,
        kernel: K,
        args: K::Args,
        options: &SubmitOptions,
    ) -> Result<Handle<K::Output>, ClientError> {
        let handle = self.wait(self.inner.submit_with(kernel, args, options))??;
        Ok(Handle::new(handle, self.background.clone()))
    }

    /// Submits a task for a kernel that is known only by name.
    pub fn submit_dyn<T: DeserializeOwned + 'static>(
        &self,
        kernel: &str,
        args: &(impl Serialize + ?Sized),
        options: &SubmitOptions,
    ) -> Result<Handle<T>, ClientError> {
        let handle = self.wait(self.inner.submit_dyn(kernel, args, options))??;
        Ok(Handle::new(handle, self.background.clone()))
    }

    /// Runs a kernel on every item: an iterator of the results, in the order of the items.
    ///
    /// Items are taken from the iterator, on another thread, as workers get on, and results must be read for that to
    /// continue. Dropping it cancels what has not started, unless the options say otherwise.
    pub fn map<K, I>(&self, kernel: K, items: I) -> Result<MapHandle<K::Output>, ClientError>
    where
        K: Kernel,
        I: IntoIterator<Item = K::Args>,
        I::IntoIter: Send + 'static,
    {
        self.map_with(kernel, items, &SubmitOptions::default())
    }

    /// The same with options.
    pub fn map_with<K, I>(
        &self,
        kernel: K,
        items: I,
        options: &SubmitOptions,
    ) -> Result<MapHandle<K::Output>, ClientError>
    where
        K: Kernel,
        I: IntoIterator<Item = K::Args>,
        I::IntoIter: Send + 'static,
    {
        let handle = self.wait(self.inner.map_with(kernel, items, options))??;
        Ok(MapHandle::new(handle, self.background.clone()))
    }

    /// Runs a kernel on every item: an iterator of the results as they come, each with the index of its item.
    pub fn map_unordered<K, I>(&self, kernel: K, items: I) -> Result<Unordered<K::Output>, ClientError>
    where
        K: Kernel,
        I: IntoIterator<Item = K::Args>,
        I::IntoIter: Send + 'static,
    {
        let handle = self.wait(self.inner.map_unordered(kernel, items))??;
        Ok(Unordered::new(handle, self.background.clone()))
    }

    /// Runs a kernel on every item of a source that may fail: an error of it is the last result.
    pub fn try_map<K, I, E>(&self, kernel: K, items: I) -> Result<MapHandle<K::Output>, ClientError>
    where
        K: Kernel,
        I: IntoIterator<Item = Result<K::Args, E>>,
        I::IntoIter: Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let handle = self.wait(self.inner.try_map(kernel, items))??;
        Ok(MapHandle::new(handle, self.background.clone()))
    }

    /// A handle for a task that was submitted before, maybe by somebody else.
    pub fn handle<T: DeserializeOwned + 'static>(&self, task: TaskId) -> Handle<T> {
        Handle::new(self.inner.handle(task), self.background.clone())
    }

    /// A handle for a batch that was submitted before, maybe by somebody else.
    pub fn batch(&self, batch: BatchId) -> BatchHandle {
        BatchHandle::new(self.inner.batch(batch), self.background.clone())
    }
}
