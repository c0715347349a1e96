//! Uploads the shared input of a batch, before its first call.

use std::time::{Duration, Instant};

use gristmill_shared::BatchId;
use gristmill_shared::defaults::BLOB_PART_BYTES;
use gristmill_shared::message::SharedRef;
use gristmill_shared::shared_input::packing;
use tokio::task::spawn_blocking;

use crate::calls::call;
use crate::client::Client;
use crate::error::ClientError;
use crate::sender::{REFUSED_PAUSE, Sender, tell_waiting};
use crate::shared_data::SharedData;

/// Parts on their way at a time.
const LANES: usize = 2;
/// What was uploaded waits so long for the first call of its batch, which lets it live longer. If its client has died
/// meanwhile, it goes; if the client lives, it is uploaded again.
const LIFE: Duration = Duration::from_secs(2 * 3600);
/// Calls within this time after one that checked it do not check it again.
const NAMED_EVERY: Duration = Duration::from_secs(1);
/// Keys in one call that deletes.
const DELETED_AT_ONCE: usize = 64;

/// The shared input of one batch in Redis.
#[derive(Debug, Clone)]
pub(crate) struct SharedUpload {
    name: SharedRef,
    /// Of all its parts.
    keys: Vec<String>,
    data: SharedData,
    batch: BatchId,
    uploaded: bool,
    /// When a call checked it last.
    named: Option<Instant>,
}

impl SharedUpload {
    /// Nothing of it is in Redis yet.
    pub fn new(client: &Client, batch: BatchId, data: SharedData) -> Self {
        let name = SharedRef::new(data.size(), None);
        let keys = client.broker().shared_keys(batch, &name);
        Self { name, keys, data, batch, uploaded: false, named: None }
    }

    /// The keys of all its parts.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Whether the next call should check it. It is hundreds of keys: a `map` that makes hundreds of calls a second
    /// would spend much of Redis's time on them.
    pub fn is_due(&self) -> bool {
        self.named.is_none_or(|at| at.elapsed() >= NAMED_EVERY)
    }

    /// A call has checked it.
    pub fn was_named(&mut self) {
        self.named = Some(Instant::now());
    }

    /// What the first call writes into the batch.
    pub fn fields(&self) -> [(String, String); 2] {
        let fields = [("shared_bytes", self.name.stored_bytes()), ("shared_parts", self.keys.len() as u64)];
        fields.map(|(field, value)| (field.to_owned(), value.to_string()))
    }

    /// Uploads it, once. After an error nothing of it is left.
    pub async fn upload(&mut self, client: &Client) -> Result<(), ClientError> {
        if self.uploaded {
            return Ok(());
        }
        let plain = self.name.part_bytes(0);
        let first = pack(&self.data, 0).await?.len();
        let packs = packing::pays(plain, first);
        // As the first part is, so are the others: good enough to see whether Redis has room for them.
        let first = if packs { first } else { plain };
        let needed = u128::from(self.name.bytes) * first as u128 / plain.max(1) as u128;
        client.check_room(needed as u64).await?;
        let all: Vec<usize> = (0..self.keys.len()).collect();
        match self.put_all(client, packs, &all).await {
            Ok(stored) => {
                self.name.packed_bytes = packs.then_some(stored);
                self.uploaded = true;
                tracing::debug!(batch = %self.batch, bytes = self.name.bytes, stored, "uploaded shared input");
                Ok(())
            }
            Err(error) => {
                self.delete(client).await;
                Err(error)
            }
        }
    }

    /// Uploads again what Redis has lost of it.
    pub async fn restore(&self, client: &Client) -> Result<(), ClientError> {
        let (broker, batch, name) = (client.broker(), self.batch, &self.name);
        let missing = call!(client, connection => broker.missing_shared_parts(connection, batch, name));
        tracing::warn!(%batch, parts = missing.len(), "Redis lost parts of the shared input; uploading them again");
        self.put_all(client, name.packed_bytes.is_some(), &missing).await?;
        Ok(())
    }

    /// Deletes it: nobody needs it any more. What cannot be deleted expires.
    pub async fn delete(&self, client: &Client) {
        for keys in self.keys.chunks(DELETED_AT_ONCE) {
            if let Err(error) = client.delete_blobs(keys).await {
                tracing::debug!(batch = %self.batch, %error, "shared input that nobody needs stays until it expires");
                return;
            }
        }
    }

    /// What they take in Redis.
    async fn put_all(&self, client: &Client, packs: bool, parts: &[usize]) -> Result<u64, ClientError> {
        // A few at a time: one is packed while another is on its way.
        let lane = async |lane: usize| {
            let mut stored = 0;
            for &part in parts.iter().skip(lane).step_by(LANES) {
                stored += self.put(client, packs, part).await?;
            }
            Ok::<u64, ClientError>(stored)
        };
        let (one, other) = futures::try_join!(lane(0), lane(1))?;
        Ok(one + other)
    }

    async fn put(&self, client: &Client, packs: bool, part: usize) -> Result<u64, ClientError> {
        let (broker, batch) = (client.broker(), self.batch);
        let packed = if packs { Some(pack(&self.data, part).await?) } else { None };
        let plain = self.data.part(part);
        let bytes = packed.as_deref().unwrap_or(&plain);
        debug_assert!(bytes.len() <= packing::packed_max(BLOB_PART_BYTES));
        call!(with much, client, connection => broker.put_shared_part(connection, batch, part, bytes, LIFE));
        Ok(bytes.len() as u64)
    }
}

impl Sender {
    /// Uploads what all tasks share, before the first message is packed. Where there is no room for it, waits, if
    /// `waits`.
    pub async fn share(&mut self, waits: bool) -> Result<(), ClientError> {
        let deadline = self.packer.options.room_deadline();
        let mut told = false;
        let Some(shared) = &mut self.shared else { return Ok(()) };
        loop {
            match shared.upload(&self.client).await {
                Err(error) if error.is_refusal() && waits && Instant::now() < deadline => {
                    if !std::mem::replace(&mut told, true) {
                        tell_waiting(shared.batch, &error);
                    }
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
                answer => {
                    self.packer.shared = Some(shared.name.clone());
                    return answer;
                }
            }
        }
    }

    /// Deletes it, where nothing was enqueued that could need it.
    pub async fn unshare(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.delete(&self.client).await;
        }
    }
}

/// Packing a part takes milliseconds, in which the caller's runtime may have other things to do.
async fn pack(data: &SharedData, part: usize) -> Result<Vec<u8>, ClientError> {
    let data = data.clone();
    let packed = spawn_blocking(move || packing::pack(&data.part(part))).await;
    packed.map_err(|_| ClientError::Local("the runtime has ended while shared input was uploaded".to_owned()))
}
