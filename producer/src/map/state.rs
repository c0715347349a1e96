//! What the feeder, the deliverer and the handle of one batch know together.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gristmill_shared::defaults::CALL_MESSAGES_MAX;
use gristmill_shared::message::BlobRef;
use gristmill_shared::results::DeliveredRun;
use gristmill_shared::{OutcomeKind, TaskTime};
use tokio::sync::{Notify, watch};

use super::chunk::ChunkSize;
use super::returned::Returned;
use super::tally::{Summary, Tally};
use super::window::{self, Window};
use crate::error::ClientError;
use crate::pack::Packed;
use crate::share::SharedUpload;

/// How often the speed of the fleet is measured.
const MEASURED_EVERY: Duration = Duration::from_millis(100);
/// What one buffered outcome costs besides its bytes.
const OUTCOME_OVERHEAD: u64 = 96;

/// What the handle wants of the tasks behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Feed within the window, deliver.
    Attached,
    /// Feed all at once, deliver nothing.
    Detached,
    /// Feed no more, seal what is enqueued, deliver nothing.
    Left,
    /// Feed no more, cancel, deliver what comes.
    Stopped,
    /// The same, but nobody listens.
    Dropped,
}

impl Mode {
    /// Whether no further item is wanted.
    pub fn ends_feed(self) -> bool {
        matches!(self, Self::Left | Self::Stopped | Self::Dropped)
    }
}

/// How far the background task is.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// Nothing is enqueued yet.
    Starting,
    /// Some of it is.
    Feeding,
    /// All of it is, and the batch is sealed.
    Sealed,
    /// The rest was cancelled.
    Cancelled,
    /// It could not go on.
    Failed(ClientError),
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Something was settled or taken out of the buffer: there may be room.
    pub room: Notify,
    /// The reader waits for a delivery.
    pub starved: Notify,
    /// The reader acknowledged results.
    pub acknowledged: Notify,
    pub mode: watch::Sender<Mode>,
    pub phase: watch::Sender<Phase>,
    /// The shared input, once it is in Redis.
    pub input: OnceLock<SharedUpload>,
}

#[derive(Debug)]
struct State {
    window: Window,
    chunk: ChunkSize,
    tally: Tally,
    ended: u64,
    since: Instant,
    buffered_bytes: u64,
    /// Large arguments in Redis, by the task that each belongs to.
    blobs: HashMap<u64, BlobRef>,
    /// What the caller got, and what of it is safe.
    returned: Returned,
    /// Deliveries after which the reader wanted another one.
    starved_after: Option<u64>,
}

impl Shared {
    /// `acknowledge`: results that the caller got are kept until it says that they are safe.
    pub fn new(chunk: Option<u32>, result_bytes: u64, acknowledge: bool) -> Self {
        let state = State {
            window: Window::new(result_bytes),
            chunk: ChunkSize::new(chunk),
            tally: Tally::new(),
            ended: 0,
            since: Instant::now(),
            buffered_bytes: 0,
            blobs: HashMap::new(),
            returned: Returned::new(acknowledge),
            starved_after: None,
        };
        Self {
            state: Mutex::new(state),
            room: Notify::new(),
            starved: Notify::new(),
            acknowledged: Notify::new(),
            mode: watch::Sender::new(Mode::Attached),
            phase: watch::Sender::new(Phase::Starting),
            input: OnceLock::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// How many messages may be enqueued now, and of how many tasks if `left` are known to remain.
    pub fn room(&self, left: usize) -> (usize, u32) {
        let state = self.state();
        let chunk = state.chunk.for_remaining(left, state.window.consumers());
        let room = match self.mode() {
            Mode::Detached => u64::MAX,
            // An outcome that waits for its predecessors waits in our memory.
            _ if state.buffered_bytes >= window::BYTES_MAX => 0,
            _ => state.window.room(chunk),
        };
        (usize::try_from(room).unwrap_or(usize::MAX).min(CALL_MESSAGES_MAX), chunk)
    }

    /// Messages that are on their way.
    pub fn outstanding(&self) -> u64 {
        self.state().window.messages()
    }

    pub fn sent(&self, message: &Packed) {
        let mut state = self.state();
        state.window.sent(message.first, u64::from(message.count), message.size() as u64);
        if let Some((blob, _)) = &message.blob {
            state.blobs.insert(message.first, blob.clone());
        }
    }

    /// The large arguments of these tasks; nobody asks for them twice. A task with a large argument has a
    /// message of its own.
    pub fn take_blobs(&self, tasks: impl Iterator<Item = u64>) -> Vec<BlobRef> {
        let mut state = self.state();
        if state.blobs.is_empty() {
            return Vec::new();
        }
        tasks.filter_map(|task| state.blobs.remove(&task)).collect()
    }

    pub fn see_consumers(&self, consumers: u64) {
        self.state().window.see_consumers(consumers);
        self.room.notify_one();
    }

    /// The outcomes of these tasks arrived, so many bytes together.
    pub fn settled(&self, indices: &[u64], bytes: u64) {
        let mut state = self.state();
        state.window.measured_outputs(indices.len() as u64, bytes);
        let busy = state.window.busy();
        for &index in indices {
            state.window.settled(index);
        }
        let unread = state.tally.ended().saturating_sub(state.returned.len());
        state.window.see_unread(unread);
        state.ended += indices.len() as u64;
        let elapsed = state.since.elapsed();
        if elapsed >= MEASURED_EVERY {
            let ended = std::mem::take(&mut state.ended);
            state.since = Instant::now();
            let task_time = state.tally.task_time();
            state.chunk.measured(ended, elapsed, busy, task_time);
            state.window.measured(ended, elapsed);
        }
        drop(state);
        self.room.notify_one();
    }

    /// A task ended like this.
    pub fn tally(&self, kind: OutcomeKind, time: TaskTime) {
        self.state().tally.add(kind, time);
    }

    /// How the tasks ended so far.
    pub fn summary(&self) -> Summary {
        self.state().tally.summary()
    }

    /// The caller got the result of this task.
    pub fn give(&self, index: u64) {
        self.returning(|returned| returned.hand_out(index));
    }

    /// The first `count` results that the caller got are safe.
    pub fn acknowledge(&self, count: u64) {
        self.returning(|returned| returned.acknowledge(count));
        self.acknowledged.notify_one();
    }

    /// Whether the caller got results that it did not acknowledge.
    pub fn is_unacknowledged(&self) -> bool {
        self.state().returned.is_pending()
    }

    fn returning(&self, change: impl FnOnce(&mut Returned)) {
        let mut state = self.state();
        let before = state.window.result_room();
        change(&mut state.returned);
        let unread = state.tally.ended().saturating_sub(state.returned.len());
        state.window.see_unread(unread);
        let has_room_again = before == 0 && state.window.result_room() > 0;
        drop(state);
        if has_room_again {
            self.room.notify_one();
        }
    }

    /// How many results need not stay in Redis for the caller.
    pub fn returned(&self) -> u64 {
        self.state().returned.len()
    }

    /// Takes the runs of which the caller needs no result any more.
    pub fn take_returned(&self, runs: &mut Vec<DeliveredRun>) -> Vec<DeliveredRun> {
        let state = self.state();
        runs.extract_if(.., |run| state.returned.covers(&run.indices)).collect()
    }

    /// The reader has taken so many deliveries, returned what it could of them, and wants more.
    pub fn starve(&self, deliveries: u64) {
        self.state().starved_after = Some(deliveries);
        self.starved.notify_one();
    }

    /// Whether the reader wants more than these deliveries.
    pub fn is_starved(&self, deliveries: u64) -> bool {
        self.state().starved_after == Some(deliveries)
    }

    /// An outcome of so many bytes waits in memory for its predecessors.
    pub fn buffered(&self, bytes: usize) {
        self.state().buffered_bytes += bytes as u64 + OUTCOME_OVERHEAD;
    }

    /// It waits no longer.
    pub fn unbuffered(&self, bytes: usize) {
        let mut state = self.state();
        let before = state.buffered_bytes;
        state.buffered_bytes = before.saturating_sub(bytes as u64 + OUTCOME_OVERHEAD);
        let has_room_again = before >= window::BYTES_MAX && state.buffered_bytes < window::BYTES_MAX;
        drop(state);
        if has_room_again {
            self.room.notify_one();
        }
    }
}
