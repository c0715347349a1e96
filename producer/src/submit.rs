//! Submitting one task: a batch of one, created and sealed by one call.

use gristmill_shared::serde_bytes::ByteBuf;
use gristmill_shared::{BatchId, Kernel, KernelName, TaskId, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::digest;
use crate::error::ClientError;
use crate::handle::Handle;
use crate::options::{SubmitOptions, WhenFull};
use crate::pack::Packer;
use crate::sender::Sender;

impl Client {
    /// Submits one task. When this returns, the task is in Redis.
    pub async fn submit<K: Kernel>(&self, kernel: K, args: K::Args) -> Result<Handle<K::Output>, ClientError> {
        self.submit_with(kernel, args, &SubmitOptions::default()).await
    }

    /// Submits one task with options.
    pub async fn submit_with<K: Kernel>(
        &self,
        _kernel: K,
        args: K::Args,
        options: &SubmitOptions,
    ) -> Result<Handle<K::Output>, ClientError> {
        self.submit_dyn(K::NAME, &args, options).await
    }

    /// Submits a task for a kernel that is known only by name. `args` is the sole parameter's value, a
    /// tuple of several, `()` of none; `T` is what the kernel returns.
    pub async fn submit_dyn<T: DeserializeOwned + 'static>(
        &self,
        kernel: &str,
        args: &(impl Serialize + ?Sized),
        options: &SubmitOptions,
    ) -> Result<Handle<T>, ClientError> {
        let (task, known) = self.submit_bytes(&KernelName::new(kernel)?, codec::encode(args)?, options).await?;
        Ok(self.handle(task).known(known))
    }

    /// Submits a task whose arguments are MessagePack already; its result is MessagePack, too.
    pub async fn submit_raw(
        &self,
        kernel: &KernelName,
        args: Vec<u8>,
        options: &SubmitOptions,
    ) -> Result<Handle<Vec<u8>>, ClientError> {
        let (task, known) = self.submit_bytes(kernel, args, options).await?;
        Ok(self.raw_handle(task).known(known))
    }

    /// The task, and whether its idempotency key was known: then it is an earlier one.
    async fn submit_bytes(
        &self,
        kernel: &KernelName,
        args: Vec<u8>,
        options: &SubmitOptions,
    ) -> Result<(TaskId, bool), ClientError> {
        let options = self.effective(kernel, options)?;
        let digest = self.digest(kernel, &args, &options).await?;
        let packer = self.packer(kernel.clone(), options, true);
        let batch = packer.batch;
        let mut sender = Sender::new(self.clone(), packer);
        sender.digest = digest;
        if let Some(known) = sender.known_already().await? {
            return Ok((known.task(0), true));
        }
        sender.share(sender.packer().options.when_full == Some(WhenFull::Wait)).await?;
        let packed = sender.packer().pack(0, vec![ByteBuf::from(args)], sender.expires_at_ms());
        let sent = match packed {
            Ok(message) => sender.send_patiently(&[message], true).await,
            Err(error) => Err(error.into()),
        };
        // After these nothing was enqueued.
        if sent.as_ref().is_err_and(|error| error.is_refusal() || matches!(error, ClientError::Codec(_))) {
            sender.unshare().await;
        }
        sent?;
        let known = sender.known();
        Ok((known.unwrap_or(batch).task(0), known.is_some()))
    }

    async fn digest(
        &self,
        kernel: &KernelName,
        args: &[u8],
        options: &SubmitOptions,
    ) -> Result<Option<String>, ClientError> {
        if options.key.is_none() {
            return Ok(None);
        }
        let Some(shared) = options.shared.clone() else { return Ok(Some(digest::of(kernel, args, None)?)) };
        // Gigabytes take seconds, in which the caller's runtime may have other things to do.
        let (kernel, args) = (kernel.clone(), args.to_vec());
        let digest = tokio::task::spawn_blocking(move || digest::of(&kernel, &args, Some(&shared))).await;
        let digest = digest.map_err(|_| ClientError::Local("the runtime has ended during a submission".to_owned()))?;
        Ok(Some(digest?))
    }

    pub(crate) fn packer(&self, kernel: KernelName, options: SubmitOptions, single: bool) -> Packer {
        let queue = options.queue.clone().unwrap_or_else(|| self.queue().clone());
        Packer { batch: BatchId::new(), kernel, queue, options, single, shared: None }
    }
}
