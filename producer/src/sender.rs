//! Enqueues the calls of one batch: exactly once, in order, one at a time.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_broker::{Enqueue, Enqueued, Once};
use gristmill_shared::duration::from_now;
use gristmill_shared::{BatchId, events};

use crate::calls::call;
use crate::client::Client;
use crate::error::ClientError;
use crate::history::{Call, History};
use crate::options::WhenFull;
use crate::pack::{Packed, Packer};
use crate::share::SharedUpload;

/// Pause before a call is repeated that a full queue or full memory refused.
pub(crate) const REFUSED_PAUSE: Duration = Duration::from_millis(250);

/// How often in one call shared input is uploaded again that Redis has lost.
const RESTORED_MAX: usize = 3;

/// Sends the messages of one batch.
pub(crate) struct Sender {
    pub(crate) client: Client,
    pub(crate) packer: Packer,
    /// What all tasks share.
    pub(crate) shared: Option<SharedUpload>,
    next_seq: u64,
    due_at_ms: Option<u64>,
    history: History,
    /// Of kernel and arguments, where the submission has an idempotency key.
    pub digest: Option<String>,
    /// The batch that took the key earlier, with the same work.
    known: Option<BatchId>,
    /// First tasks of the messages whose blobs are in Redis, and which are not enqueued yet.
    uploaded: HashSet<u64>,
}

impl Sender {
    pub fn new(client: Client, packer: Packer) -> Self {
        let due_at_ms = packer.options.due_at_ms(client.now_ms());
        let (history, uploaded) = (History::default(), HashSet::new());
        let shared = packer.options.shared.clone().map(|data| SharedUpload::new(&client, packer.batch, data));
        Self { client, packer, shared, next_seq: 0, due_at_ms, history, digest: None, known: None, uploaded }
    }

    pub fn packer(&self) -> &Packer {
        &self.packer
    }

    /// The batch that took the idempotency key earlier, with the same work: nothing was enqueued.
    pub fn known(&self) -> Option<BatchId> {
        self.known
    }

    /// When a message that is packed now will expire.
    pub fn expires_at_ms(&self) -> u64 {
        let now_ms = self.client.now_ms();
        self.packer.options.expires_at_ms(self.due_at_ms.map_or(now_ms, |due| due.max(now_ms)))
    }

    /// Uploads the blobs, then enqueues the messages. May be repeated with the same messages after an
    /// error of a full queue or full memory: then nothing of it has happened.
    pub async fn send(&mut self, messages: &[Packed], seal: bool) -> Result<(), ClientError> {
        if !messages.is_empty() {
            self.client.check_memory().await?;
        }
        let blobs = self.upload(messages).await?;
        self.log(messages);
        let bytes = messages.iter().map(|message| message.bytes.clone()).collect();
        let call = Arc::new(Call { seq: self.next_seq, seal, messages: bytes, blobs });
        let answer = if messages.is_empty() { self.seal(&call).await? } else { self.enqueue(&call).await? };
        if !matches!(answer, Enqueued::QueueFull { .. }) {
            self.history.keep(call.clone(), Instant::now());
        }
        let full = matches!(answer, Enqueued::QueueFull { .. });
        if let Enqueued::Known { batch, digest } = answer {
            // Rare futures stand in boxes: this one is part of many others.
            return Box::pin(self.is_known(batch, &digest, &call.blobs)).await;
        }
        let answered = self.answered(answer).await;
        if !full {
            self.uploaded.clear();
        }
        answered?;
        self.next_seq = call.seq + 1;
        Ok(())
    }

    /// Looks who holds the idempotency key, before gigabytes of shared input are uploaded for nothing. If nobody does, the
    /// enqueue call decides.
    pub async fn known_already(&mut self) -> Result<Option<BatchId>, ClientError> {
        let (client, Some(key), true) = (&self.client, &self.packer.options.key, self.shared.is_some()) else {
            return Ok(None);
        };
        let held = call!(client, connection => client.broker().key_holder(connection, key));
        if let Some((batch, digest)) = held {
            // Nothing was uploaded that would have to go.
            self.shared = None;
            self.is_known(batch, &digest, &[]).await?;
        }
        Ok(self.known)
    }

    /// The key is taken: by the same work, or by other work, which is an error.
    async fn is_known(&mut self, batch: BatchId, digest: &str, blobs: &[String]) -> Result<(), ClientError> {
        // It may be our own, whose hash is gone; its message may still need them.
        if batch != self.packer.batch
            && !blobs.is_empty()
            && let Err(error) = self.client.delete_blobs(blobs).await
        {
            tracing::warn!(%batch, %error, "arguments that nobody needs stay in Redis until they expire");
        }
        if batch != self.packer.batch {
            self.unshare().await;
        }
        if self.digest.as_deref() != Some(digest) {
            let key = self.packer.options.key.clone().unwrap_or_default();
            return Err(ClientError::KeyReused { key, batch });
        }
        self.known = Some(batch);
        Ok(())
    }

    fn log(&self, messages: &[Packed]) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let options = &self.packer.options;
        let labels: Vec<_> = options.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (labels, key) = ((!labels.is_empty()).then(|| labels.join(" ")), options.key.as_deref());
        for message in messages {
            let (task, count) = (self.packer.batch.task(message.first), message.count);
            tracing::debug!(event = events::TASK_SUBMITTED, %task, count, labels, key, "message handed to the broker");
        }
    }

    /// The same, but what was refused for want of room is sent again if that was chosen.
    pub async fn send_patiently(&mut self, messages: &[Packed], seal: bool) -> Result<(), ClientError> {
        let mut told = false;
        let options = &self.packer.options;
        let (waits, deadline) = (options.when_full == Some(WhenFull::Wait), options.room_deadline());
        loop {
            match self.send(messages, seal).await {
                Err(error) if error.is_refusal() && waits && Instant::now() < deadline => {
                    if !std::mem::replace(&mut told, true) {
                        tell_waiting(self.packer.batch, &error);
                    }
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Looks whether Redis has forgotten calls, and sends those again: whoever has nothing more to send would not
    /// learn of it, and wait for outcomes that never come.
    pub async fn look_back(&mut self) -> Result<(), ClientError> {
        let (client, batch) = (&self.client, self.packer.batch);
        let record = call!(client, connection => client.broker().batch_record(connection, batch));
        // A batch that is gone has ended, or is missed by whoever reads its results.
        match record.map(|record| record.next_seq) {
            Some(next_seq) if next_seq < self.next_seq => self.answered(Enqueued::Gap { next_seq }).await,
            _ => Ok(()),
        }
    }

    /// Whether any call of the batch was taken.
    pub fn has_sent(&self) -> bool {
        self.next_seq > 0
    }

    /// A call without messages takes next to no memory, and many may wait for the end of the batch: a Redis
    /// that is full is asked again, for workers make room.
    async fn seal(&mut self, call: &Call) -> Result<Enqueued, ClientError> {
        let deadline = from_now(self.client.patience());
        loop {
            match self.enqueue(call).await {
                Err(ClientError::MemoryLimit(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Enqueues. Shared input that Redis has lost meanwhile is uploaded again.
    async fn enqueue(&mut self, call: &Call) -> Result<Enqueued, ClientError> {
        for _ in 0..RESTORED_MAX {
            // Whoever seals without a task needs no input.
            let named = self.shared.as_ref().is_some_and(|shared| !call.messages.is_empty() && shared.is_due());
            let answer = self.enqueue_once(call, named).await?;
            match (&answer, &mut self.shared) {
                (Enqueued::BlobGone { key }, Some(shared)) if shared.keys().contains(key) => {
                    Box::pin(shared.restore(&self.client)).await?;
                }
                (Enqueued::Done { .. }, Some(shared)) if named => {
                    shared.was_named();
                    return Ok(answer);
                }
                _ => return Ok(answer),
            }
        }
        self.enqueue_once(call, true).await
    }

    /// `named`: the call checks the shared input, too, and lets it live as long as its messages need it.
    async fn enqueue_once(&self, call: &Call, named: bool) -> Result<Enqueued, ClientError> {
        let (client, packer) = (&self.client, &self.packer);
        let options = &packer.options;
        let once = match (&options.key, &self.digest, options.effective_key_window()) {
            (Some(key), Some(digest), Some(window)) => Some(Once { key, digest, window }),
            _ => None,
        };
        // The first call writes them.
        let mut fields = if call.seq == 0 { options.fields() } else { Vec::new() };
        let mut blobs = Cow::Borrowed(call.blobs.as_slice());
        if let Some(shared) = &self.shared {
            if named {
                blobs.to_mut().extend_from_slice(shared.keys());
            }
            if call.seq == 0 {
                fields.extend(shared.fields());
            }
        }
        let enqueue = Enqueue {
            batch: packer.batch,
            seq: call.seq,
            seal: call.seal,
            single: packer.single,
            kernel: packer.kernel.as_str(),
            queue: &packer.queue,
            lane: options.effective_lane(),
            messages: &call.messages,
            due_at_ms: self.due_at_ms,
            result_ttl: options.effective_result_ttl(),
            result_bytes: options.effective_result_bytes(),
            blobs: &blobs,
            once,
            fields: &fields,
        };
        Ok(call!(client, connection => client.broker().enqueue(connection, &enqueue)))
    }

    /// What an answer means for the batch. A gap is what remains when Redis came back without its last
    /// seconds: those calls are sent again.
    async fn answered(&mut self, mut answer: Enqueued) -> Result<(), ClientError> {
        // Every round sends all that is missing; Redis would have to fail again in each to ask for another.
        for _ in 0..5 {
            let next_seq = match answer {
                Enqueued::Gap { next_seq } => next_seq,
                other => return self.settled(other),
            };
            let batch = self.packer.batch;
            tracing::warn!(%batch, next_seq, "Redis lost the last calls of the batch; sending them again");
            let calls = self.history.from(next_seq).ok_or(ClientError::BatchGone(batch))?;
            answer = Enqueued::Done { next_seq };
            for call in calls {
                answer = self.enqueue(&call).await?;
                if !matches!(answer, Enqueued::Done { .. } | Enqueued::Duplicate { .. }) {
                    break;
                }
            }
        }
        Err(ClientError::BatchGone(self.packer.batch))
    }

    fn settled(&self, answer: Enqueued) -> Result<(), ClientError> {
        let batch = self.packer.batch;
        match answer {
            Enqueued::Done { .. } | Enqueued::Duplicate { .. } => Ok(()),
            Enqueued::Sealed | Enqueued::Known { .. } => Err(ClientError::BatchSealed(batch)),
            Enqueued::Gap { .. } | Enqueued::Gone => Err(ClientError::BatchGone(batch)),
            Enqueued::BlobGone { key } => Err(ClientError::BlobGone(key)),
            Enqueued::QueueFull { depth, limit } => {
                Err(ClientError::QueueFull { queue: self.packer.queue.to_string(), depth, limit })
            }
        }
    }

    /// Uploads the blobs of these messages, unless a call that was refused did so already.
    async fn upload(&mut self, messages: &[Packed]) -> Result<Vec<String>, ClientError> {
        let margin = self.packer.options.blob_margin();
        let life = Duration::from_millis(self.expires_at_ms().saturating_sub(self.client.now_ms())) + margin;
        let (client, batch, uploaded) = (&self.client, self.packer.batch, &mut self.uploaded);
        let mut keys = Vec::new();
        for message in messages {
            let Some((blob, bytes)) = &message.blob else { continue };
            if !uploaded.contains(&message.first) {
                call!(with much, client, connection => client.broker().put_blob(connection, batch, &blob.name, bytes, life));
                uploaded.insert(message.first);
            }
            keys.extend(client.broker().blob_keys(batch, blob));
        }
        Ok(keys)
    }
}

/// Says once why a submission does not come to its end.
pub(crate) fn tell_waiting(batch: BatchId, refusal: &ClientError) {
    match refusal {
        ClientError::QueueFull { queue, depth, limit } => {
            tracing::warn!(%batch, "waiting for room: the queue {queue:?} holds {depth} messages of at most {limit}");
        }
        other => tracing::warn!(%batch, "waiting for room: {other}"),
    }
}
