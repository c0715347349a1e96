//! Delivers what ended: reads outcomes as they are settled, hands them on, and has forgotten what the
//! caller got, or acknowledged.

use std::sync::Arc;

use futures::FutureExt;
use gristmill_shared::BatchId;
use gristmill_shared::message::BlobRef;
use gristmill_shared::results::{Collected, CollectorStream, DeliveredRun};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::inbox::size;
use super::state::{Mode, Phase, Shared};
use crate::calls::call;
use crate::client::Client;
use crate::collect::{Output, is_success};
use crate::error::ClientError;

/// Outcomes that are handed on at once.
const OUTCOMES: usize = 512;
/// Bytes of outcomes that are handed on at once, but at least one.
const OUTCOME_BYTES: usize = 4 << 20;
/// KiB of outcomes that wait for the reader, or one delivery that is larger.
const WAITING_KIB: u64 = 32 << 10;
/// Runs whose results are deleted in one call.
const FORGET_RUNS: usize = 256;
/// So many results the caller gets before what it has is looked for among the runs again.
const FORGET_AFTER: u64 = 256;
/// The same in bytes that were delivered; less where the results may not take much.
const FORGET_BYTES: u64 = 16 << 20;
const FORGET_SHARE: u64 = 8;

/// What the handle receives.
pub(super) enum Delivery {
    /// What they take of the room for what waits goes back when they are taken.
    Outcomes(Vec<(u64, Output)>, Option<OwnedSemaphorePermit>),
    Failed(ClientError),
    /// All outcomes were delivered; what the caller has to acknowledge is waited for.
    End,
}

pub(super) struct Deliverer {
    pub client: Client,
    pub batch: BatchId,
    pub shared: Arc<Shared>,
    pub to: mpsc::Sender<Delivery>,
    /// Room for what waits for the reader.
    room: Arc<Semaphore>,
    /// Bytes that are delivered before what the caller has is looked for among the runs again.
    forget_bytes: u64,
}

impl Deliverer {
    pub fn new(
        client: Client,
        batch: BatchId,
        shared: Arc<Shared>,
        to: mpsc::Sender<Delivery>,
        result_bytes: u64,
    ) -> Self {
        let room = Arc::new(Semaphore::new(WAITING_KIB as usize));
        Self { client, batch, shared, to, room, forget_bytes: FORGET_BYTES.min(result_bytes / FORGET_SHARE) }
    }

    /// Delivers until the batch has finished and the caller has what it wants of it. Returns what is not forgotten.
    pub async fn run(&self) -> Result<Delivered, ClientError> {
        let mut phase = self.shared.phase.subscribe();
        // The sender lives in `shared`, so it cannot be gone; without a first call there is no batch to read.
        if phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await.is_err() {
            return Ok(Delivered::default());
        }
        let mut stream = self.client.collector().stream(self.batch).remember_runs();
        let mut delivered = Delivered::default();
        let mut sent = 0;
        loop {
            let outcomes = self.gather(&mut stream).await?;
            let last = outcomes.is_empty();
            let succeeded = outcomes.iter().filter(|(_, output)| is_success(output)).map(|(index, _)| *index);
            self.free(&self.shared.take_blobs(succeeded)).await?;
            let indices: Vec<u64> = outcomes.iter().map(|(index, _)| *index).collect();
            let bytes = outcomes.iter().map(|(_, output)| size(output) as u64).sum();
            // Waiting for the reader holds the measurement back, too: that is the backpressure. A reader who
            // is gone has said so in the mode.
            if !last && self.hand_on(outcomes, bytes).await {
                sent += 1;
            }
            self.shared.settled(&indices, bytes);
            delivered.bytes += bytes;
            delivered.runs.append(&mut stream.take_forgettable());
            if last {
                self.wait_for_reader(sent).await;
            }
            if last || delivered.bytes >= self.forget_bytes || self.shared.returned() >= delivered.seen + FORGET_AFTER {
                self.forget(&mut delivered).await?;
            }
            if last {
                return Ok(delivered);
            }
        }
    }

    /// Waits until there is room for so many bytes, and hands them on; false: the reader is gone.
    async fn hand_on(&self, outcomes: Vec<(u64, Output)>, bytes: u64) -> bool {
        let kib = (bytes >> 10).clamp(1, WAITING_KIB) as u32;
        let room = tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(kib) => room.ok(),
            () = self.to.closed() => return false,
        };
        self.to.send(Delivery::Outcomes(outcomes, room)).await.is_ok()
    }

    /// All is delivered: has forgotten what the caller acknowledges now, for as long as it holds its handle.
    pub async fn linger(&self, mut delivered: Delivered) -> Result<(), ClientError> {
        let mut mode = self.shared.mode.subscribe();
        // Whoever is gone needs no end.
        if !self.shared.is_unacknowledged() || self.to.send(Delivery::End).await.is_err() {
            return Ok(());
        }
        while self.shared.is_unacknowledged() && *mode.borrow_and_update() == Mode::Attached {
            tokio::select! {
                () = self.shared.acknowledged.notified() => {}
                () = self.to.closed() => break,
                _ = mode.changed() => {}
            }
            if self.shared.returned() >= delivered.seen + FORGET_AFTER {
                self.forget(&mut delivered).await?;
            }
        }
        self.forget(&mut delivered).await
    }

    /// Waits until the reader wants more than it was sent, is gone, or goes its own way.
    async fn wait_for_reader(&self, sent: u64) {
        let mut mode = self.shared.mode.subscribe();
        loop {
            let attached = *mode.borrow_and_update() == Mode::Attached;
            if !attached || self.shared.is_starved(sent) {
                return;
            }
            tokio::select! {
                () = self.shared.starved.notified() => {}
                () = self.to.closed() => return,
                _ = mode.changed() => {}
            }
        }
    }

    /// Waits for an outcome and takes those that are there with it; none: the batch has finished.
    async fn gather(&self, stream: &mut CollectorStream) -> Result<Vec<(u64, Output)>, ClientError> {
        let mut outcomes = Vec::new();
        let mut next = stream.next().await;
        let mut bytes = 0;
        while let Some(item) = next {
            if let Ok((_, Collected::Outcome(outcome, time))) = &item {
                self.shared.tally(outcome.kind(), *time);
            }
            let (index, output) = self.client.item(self.batch, item)?;
            bytes += size(&output);
            outcomes.push((index, output));
            if outcomes.len() == OUTCOMES || bytes >= OUTCOME_BYTES {
                break;
            }
            match stream.next().now_or_never() {
                Some(ready) => next = ready,
                None => break,
            }
        }
        Ok(outcomes)
    }

    /// Arguments of tasks that succeeded are needed by nobody; left to their TTL, they would fill Redis long
    /// after the window has moved on. Those of a failed task stay: its dead letter may be revived.
    async fn free(&self, blobs: &[BlobRef]) -> Result<(), ClientError> {
        let keys: Vec<String> =
            blobs.iter().flat_map(|blob| self.client.broker().blob_keys(self.batch, blob)).collect();
        if keys.is_empty() { Ok(()) } else { self.client.delete_blobs(&keys).await }
    }

    /// Nobody else is to read what the caller of an attached `map` got, so Redis need not keep it. What only
    /// waits in our memory stays: the caller may yet leave the batch to somebody else.
    async fn forget(&self, delivered: &mut Delivered) -> Result<(), ClientError> {
        (delivered.seen, delivered.bytes) = (self.shared.returned(), 0);
        let got = self.shared.take_returned(&mut delivered.runs);
        for runs in got.chunks(FORGET_RUNS) {
            if self.shared.mode() != Mode::Attached {
                break;
            }
            let (client, batch) = (&self.client, self.batch);
            let tasks: Vec<_> = runs.iter().map(|run| run.indices.clone()).collect();
            let outputs: Vec<BlobRef> = runs.iter().flat_map(|run| run.outputs.iter().cloned()).collect();
            call!(client, connection => client.broker().forget_runs(connection, batch, &tasks, &outputs));
        }
        Ok(())
    }
}

/// What the channel has, and its reader not all of.
#[derive(Default)]
pub(super) struct Delivered {
    /// Runs that were delivered whole, and not forgotten yet.
    runs: Vec<DeliveredRun>,
    /// Bytes that were delivered since they were looked through last.
    bytes: u64,
    /// How many results the caller had when they were looked through last.
    seen: u64,
}
