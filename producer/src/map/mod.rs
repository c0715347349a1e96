//! Many tasks of one kernel, streamed through a bounded window.

mod chunk;
mod deliver;
mod drive;
mod feed;
mod handle;
mod inbox;
mod returned;
mod source;
mod state;
mod tally;
mod unordered;
mod window;

pub use handle::MapHandle;
pub use tally::Summary;
pub use unordered::Unordered;

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
use inbox::Inbox;

impl Client {
    /// Runs a kernel on every item: results come in the order of the items.
    ///
    /// Items are taken from the iterator as workers get on, and results must be read for that to
    /// continue: an iterator without end is fine. Dropping the handle cancels what has not started; see
    /// [`MapHandle::detach`].
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
        let args = items.into_iter().map(|item| source::encoded(Ok::<_, ClientError>(item)));
        let source = stream::iter(args).boxed();
        self.start_map(KernelName::new(kernel)?, source, options, decode_value::<T>)
    }

    /// Runs a kernel on every item: results come as their tasks end, each with the index of its item.
    pub async fn map_unordered<K, I>(&self, kernel: K, items: I) -> Result<Unordered<K::Output>, ClientError>
    where
        K: Kernel,
        I: IntoIterator<Item = K::Args>,
        I::IntoIter: Send + 'static,
    {
        Ok(self.map(kernel, items).await?.unordered())
    }

    /// [`map`](Self::map) over a stream, which is read as workers get on. Options come from [`Client::with`].
    pub async fn map_stream<K, S>(&self, kernel: K, items: S) -> Result<MapHandle<K::Output>, ClientError>
    where
        K: Kernel,
        S: Stream<Item = K::Args> + Send + 'static,
    {
        self.try_map_stream(kernel, items.map(Ok::<_, ClientError>)).await
    }

    /// [`map`](Self::map) over items that may fail to come, such as the lines of a file. The first that does ends the map:
    /// what came before it runs, and after those results the last one is [`ClientError::Source`].
    ///
    /// ```no_run
    /// # async fn example(client: gristmill::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// # gristmill::remote_kernel! { fn word_count(text: String) -> u64 = "words"; }
    /// use std::io::BufRead;
    ///
    /// let lines = std::io::BufReader::new(std::fs::File::open("war-and-peace.txt")?).lines();
    /// let words: u64 = client.try_map(word_count, lines).await?.fold(0, |sum, words| sum + words).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_map<K, I, E>(&self, kernel: K, items: I) -> Result<MapHandle<K::Output>, ClientError>
    where
        K: Kernel,
        I: IntoIterator<Item = Result<K::Args, E>>,
        I::IntoIter: Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let args = items.into_iter().map(source::encoded);
        self.start_typed(kernel, stream::iter(args).boxed())
    }

    /// [`try_map`](Self::try_map) over a stream.
    pub async fn try_map_stream<K, S, E>(&self, kernel: K, items: S) -> Result<MapHandle<K::Output>, ClientError>
    where
        K: Kernel,
        S: Stream<Item = Result<K::Args, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        self.start_typed(kernel, items.map(source::encoded).boxed())
    }

    fn start_typed<K: Kernel>(&self, _kernel: K, source: Source) -> Result<MapHandle<K::Output>, ClientError> {
        self.start_map(KernelName::new(K::NAME)?, source, &SubmitOptions::default(), decode_value)
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
        let options = self.effective(&kernel, options)?;
        if let Some(key) = &options.key {
            return Err(ClientError::Invalid(format!(
                "a map takes no idempotency key, and this one has {key:?}: submit its items one by one, each with a key of \
                 its own"
            )));
        }
        let packer = self.packer(kernel, options, false);
        let batch = packer.batch;
        let on_drop = packer.options.on_drop.unwrap_or_default();
        let (source, failure) = source::until_failure(source);
        let driven = drive::spawn(self.clone(), source, Sender::new(self.clone(), packer));
        Ok(MapHandle::new(Inbox::new(batch, driven, decode, failure, on_drop)))
    }
}
