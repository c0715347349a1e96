//! From arguments to messages.

use gristmill_shared::codec::{self, CodecError};
use gristmill_shared::defaults::{BLOB_BYTES_MAX, CHUNK_BYTES, INLINE_BYTES_MAX};
use gristmill_shared::message::{BODY_VERSION, BlobRef, FLAG_BLOB, FLAG_SINGLE, SharedRef};
use gristmill_shared::serde_bytes::ByteBuf;
use gristmill_shared::{BatchId, Body, Header, KernelName, Message, QueueName};

use crate::options::SubmitOptions;

/// Bytes that MessagePack spends on one argument besides the argument.
const ARG_OVERHEAD: usize = 5;

/// What all messages of one batch have in common.
#[derive(Debug, Clone)]
pub(crate) struct Packer {
    pub batch: BatchId,
    pub kernel: KernelName,
    pub queue: QueueName,
    pub options: SubmitOptions,
    pub single: bool,
    /// What all tasks of the batch share, once it was uploaded.
    pub shared: Option<SharedRef>,
}

/// A message on its way, with the blob that must be uploaded before it.
#[derive(Debug, PartialEq)]
pub(crate) struct Packed {
    pub first: u64,
    pub count: u32,
    pub bytes: Vec<u8>,
    pub blob: Option<(BlobRef, Vec<u8>)>,
}

impl Packed {
    /// What it costs Redis, blob included.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.blob.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }
}

impl Packer {
    /// A message of the tasks from `first` on; `args` holds the MessagePack of each.
    pub fn pack(&self, first: u64, args: Vec<ByteBuf>, expires_at_ms: u64) -> Result<Packed, CodecError> {
        let count = args.len() as u32;
        let blob = if is_large(&args) { Some(self.blob(first, &args)?) } else { None };
        let flags = if self.single { FLAG_SINGLE } else { 0 } | if blob.is_some() { FLAG_BLOB } else { 0 };
        let header = Header {
            version: BODY_VERSION,
            flags,
            lane: self.options.effective_lane(),
            attempt: 1,
            crashes: 0,
            losses: 0,
            expires_at_ms,
            batch: self.batch,
            first,
            count,
            blob_offset: 0,
            queue: self.queue.clone(),
        };
        let body = Body {
            kernel: self.kernel.as_str().to_owned(),
            args: if blob.is_some() { Vec::new() } else { args },
            blob: blob.as_ref().map(|(blob, _)| blob.clone()),
            shared: self.shared.clone(),
            options: self.options.task_options(),
            ..Body::default()
        };
        let bytes = Message::new(header, &body)?.encode()?;
        Ok(Packed { first, count, bytes, blob })
    }

    fn blob(&self, first: u64, args: &[ByteBuf]) -> Result<(BlobRef, Vec<u8>), CodecError> {
        for arg in args {
            codec::check_size("the argument", arg.len(), BLOB_BYTES_MAX)?;
        }
        let bytes = codec::encode(args)?;
        Ok((BlobRef { name: format!("a{first}"), bytes: bytes.len() as u64 }, bytes))
    }
}

/// A large argument has a message, and a blob, of its own: see [`Chunk::fits`].
fn is_large(args: &[ByteBuf]) -> bool {
    args.iter().any(|arg| arg.len() > INLINE_BYTES_MAX)
}

/// Arguments that gather until they make a message.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    args: Vec<ByteBuf>,
    bytes: usize,
}

impl Chunk {
    /// Whether another argument still belongs into the same message.
    pub fn fits(&self, arg: &[u8], tasks_max: u32) -> bool {
        self.args.is_empty()
            || (self.args.len() < tasks_max as usize && self.bytes + arg.len() + ARG_OVERHEAD <= CHUNK_BYTES)
    }

    pub fn push(&mut self, arg: Vec<u8>) {
        self.bytes += arg.len() + ARG_OVERHEAD;
        self.args.push(ByteBuf::from(arg));
    }

    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// Takes what has gathered.
    pub fn take(&mut self) -> Vec<ByteBuf> {
        self.bytes = 0;
        std::mem::take(&mut self.args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packer() -> Packer {
        Packer {
            batch: BatchId::new(),
            kernel: KernelName::new("square").unwrap(),
            queue: QueueName::new("default").unwrap(),
            options: SubmitOptions::new().retries(2),
            single: false,
            shared: None,
        }
    }

    #[test]
    fn a_message_says_what_was_packed() {
        let args = vec![ByteBuf::from(vec![1]), ByteBuf::from(vec![2])];
        let packed = packer().pack(40, args.clone(), 99).unwrap();
        let message = Message::parse(&packed.bytes).unwrap();
        assert_eq!((message.header.first, message.header.count, message.header.expires_at_ms), (40, 2, 99));
        let body = message.read_body().unwrap();
        assert_eq!((body.kernel.as_str(), body.args, body.options.retries), ("square", args, Some(2)));
        assert_eq!(packed.blob, None);
    }

    #[test]
    fn a_large_argument_goes_to_a_blob() {
        let arg = ByteBuf::from(vec![7; INLINE_BYTES_MAX + 1]);
        let packed = packer().pack(3, vec![arg.clone()], 99).unwrap();
        let (blob, bytes) = packed.blob.unwrap();
        assert_eq!(blob.name, "a3");
        assert_eq!(codec::decode::<Vec<ByteBuf>>(&bytes).unwrap(), [arg]);
        let message = Message::parse(&packed.bytes).unwrap();
        assert_eq!(message.read_body().unwrap().blob, Some(blob));
        assert!(message.header.flags & FLAG_BLOB != 0);
    }

    #[test]
    fn an_argument_above_the_limit_is_refused_with_its_size() {
        let error = packer().pack(0, vec![ByteBuf::from(vec![0; BLOB_BYTES_MAX + 1])], 99).unwrap_err();
        let said = "the argument is 33554433 bytes, the limit is 33554432; make it smaller";
        assert!(error.to_string().starts_with(said), "{error}");
    }

    #[test]
    fn chunks_end_by_count_and_by_bytes() {
        let mut chunk = Chunk::default();
        assert!(chunk.fits(&[0; 100_000], 1));
        chunk.push(vec![0]);
        assert!(!chunk.fits(&[0], 1));
        assert!(chunk.fits(&[0], 2));
        assert!(!chunk.fits(&[0; CHUNK_BYTES], 2));
        assert_eq!(chunk.take().len(), 1);
        assert!(chunk.is_empty());
    }
}
