//! Many tasks of one kernel, streamed through a bounded window.

mod chunk;
mod deliver;
mod drive;
mod feed;
mod handle;
mod returned;
mod state;
mod tally;
mod window;

pub use handle::{MapHandle, Unordered};
pub use tally::Summary;

use futures::stream::{self, Stream, StreamExt};
use gristmill_shared::{Kernel, KernelName, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::collect::{decode_raw, decode_value};
use crate::error::ClientError;
use crate::options::SubmitOptions;
use crate::sender::Sender;
use feed::Source;

impl Client {
    /// Runs a kernel on every item: results come in the order of the items.
    ///
    /// Items are taken from the iterator as workers get on, and results must be read for that to
    /// continue. Dropping the handle cancels what has not started; see [`MapHandle::detach`].
    pub async fn map<K, I>(&self, kernel: K, items: I) -> Result<MapHandle<K::Output>, ClientError>
    where
        K: Kernel,
        I: IntoIterator<Item = K::Args>,
        I::IntoIter: Send + 'static,
    {
        self.map_with(kernel, items, &SubmitOptions::default()).await
    }

    /// The same with options.
    pub async fn map_with<K, I>(
        &self,
        _kernel: K,
        items: I,
        options: &SubmitOptions,
    ) -> Result<MapHandle<K::Output>, ClientError>
    where
        K: Kernel,
        I: IntoIterator<Item = K::Args>,
        I::IntoIter: Send + 'static,
    {
        self.map_dyn(K::NAME, items, options).await
    }

    /// The same for a kernel that is known only by name.
    pub async fn map_dyn<T, I>(
        &self,
        kernel: &str,
        items: I,
        options: &SubmitOptions,
    ) -> Result<MapHandle<T>, ClientError>
    where
        T: DeserializeOwned + 'static,
        I: IntoIterator,
        I::Item: Serialize,
        I::IntoIter: Send + 'static,
    {
        let args = items.into_iter().map(|item| codec::encode(&item).map_err(ClientError::from));
        let source = stream::iter(args).boxed();
        self.start_map(KernelName::new(kernel)?, source, options, decode_value::<T>)
    }

    /// The same with arguments from a stream, each of them MessagePack already; results are MessagePack,
    /// too.
    pub async fn map_raw(
        &self,
        kernel: &KernelName,
        args: impl Stream<Item = Vec<u8>> + Send + 'static,
        options: &SubmitOptions,
    ) -> Result<MapHandle<Vec<u8>>, ClientError> {
        self.start_map(kernel.clone(), args.map(Ok).boxed(), options, decode_raw)
    }

    fn start_map<T>(
        &self,
        kernel: KernelName,
        source: Source,
        options: &SubmitOptions,
        decode: fn(Vec<u8>) -> Result<T, codec::CodecError>,
    ) -> Result<MapHandle<T>, ClientError> {
        let options = self.effective(options)?;
        if let Some(key) = &options.key {
            return Err(ClientError::Invalid(format!(
                "a map takes no idempotency key, and this one has {key:?}: submit its items one by one, each with a key of \
                 its own"
            )));
        }
        let packer = self.packer(kernel, options, false);
        let batch = packer.batch;
        let (shared, deliveries) = drive::spawn(self.clone(), source, Sender::new(self.clone(), packer));
        Ok(MapHandle::new(batch, shared, deliveries, decode))
    }
}
