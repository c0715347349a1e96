//! What a caller can say about a submission.

mod check;
mod levels;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gristmill_broker::label_field;
use gristmill_shared::defaults;
use gristmill_shared::duration::{FOREVER, from_now};
use gristmill_shared::{Lane, QueueName, TaskOptions};
use serde::Serialize;

use crate::shared_data::SharedData;

/// A longer time than this is this time: sums of such times must fit into what Redis can count.
pub(crate) const LONGEST: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

/// What happens while the queue is at its depth limit, or Redis near its memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The submission fails, with an error that says which limit it met.
    Fail,
    /// It waits for room, for as long as it takes.
    Wait,
}

/// What becomes of a `map` whose handle is dropped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrop {
    /// What has not started is cancelled.
    #[default]
    Cancel,
    /// No further items are taken; what is enqueued runs.
    Leave,
    /// All items are enqueued, as far as the runtime lives to do so, and run. Not for a source without end.
    Detach,
}

/// Options of a submission. Each field comes from the first of these levels that sets it: the call (`submit_with`), the
/// bound client ([`Client::with`](crate::Client::with)), the kernel at this client
/// ([`kernel_defaults`](crate::ClientBuilder::kernel_defaults)), the client
/// ([`defaults`](crate::ClientBuilder::defaults)), the kernel itself (`#[kernel(retries = 2)]`, known to the worker), and the
/// default. Labels are gathered from all levels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SubmitOptions {
    /// The queue; none: the client's.
    pub queue: Option<QueueName>,
    /// The lane within the queue; none: normal.
    pub lane: Option<Lane>,
    /// Attempts after the first that fails.
    pub retries: Option<u16>,
    /// First back-off between attempts.
    pub backoff: Option<Duration>,
    /// Longest back-off between attempts.
    pub backoff_max: Option<Duration>,
    /// After this time the task is asked to end.
    pub soft_time_limit: Option<Duration>,
    /// The task's process ends when it runs longer than this.
    pub time_limit: Option<Duration>,
    /// The memory that the task may need, bytes: its process ends when it holds more, and a worker that has less does
    /// not start it.
    pub memory: Option<u64>,
    /// How long results stay after the batch finished.
    pub result_ttl: Option<Duration>,
    /// Bytes that the results of a `map` may take in Redis; beyond that, what has not started of it ends as cancelled.
    pub result_bytes: Option<u64>,
    /// A task that has not started by then expires, counted from its due time.
    pub expires_after: Option<Duration>,
    /// The tasks wait at least this long before they start.
    pub delay: Option<Duration>,
    /// The tasks do not start before this time; a time in the past is now. The clock is that of Redis.
    pub at: Option<SystemTime>,
    /// What happens while the queue is full, or Redis near its memory limit; none: `submit` fails, `map` waits.
    pub when_full: Option<WhenFull>,
    /// Whoever waits for room gives up after this time, with the error of a refusal; none: never.
    pub room_timeout: Option<Duration>,
    /// Tasks per message of a `map`, 1 to 4,096; none: by measured time. A chunk is never larger than 48 KiB.
    pub chunk: Option<u32>,
    /// Results of a `map` stay in Redis until its handle was told that they are safe.
    pub acknowledge: Option<bool>,
    /// What becomes of a `map` whose handle is dropped before its end; none: what has not started is cancelled.
    pub on_drop: Option<OnDrop>,
    /// The idempotency key of a `submit`: within the window, the same key is the same task.
    pub key: Option<String>,
    /// How long the key is kept, from 1 s to 30 days; none: 24 h.
    pub key_window: Option<Duration>,
    /// What `status` shows of the batch, by name.
    pub labels: BTreeMap<String, String>,
    /// Whether outputs are dropped where they were computed; none: as the kernel declares.
    pub ignore_result: Option<bool>,
    /// What all tasks of the batch share.
    pub shared: Option<SharedData>,
}

impl SubmitOptions {
    /// No option set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends to this queue.
    #[must_use]
    pub fn queue(mut self, queue: QueueName) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Sends to this lane.
    #[must_use]
    #[doc(alias = "priority")]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = Some(lane);
        self
    }

    /// Allows so many attempts after the first that fails.
    #[must_use]
    pub fn retries(mut self, retries: u16) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Waits so long before the second attempt; twice as long before each further one.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = Some(first);
        self.backoff_max = Some(longest);
        self
    }

    /// Asks a task to end that runs longer: `TaskContext::soft_limit_passed` tells it.
    #[must_use]
    pub fn soft_time_limit(mut self, limit: Duration) -> Self {
        self.soft_time_limit = Some(limit);
        self
    }

    /// Ends a task whose process holds more memory, in bytes.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Ends a task that runs longer.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Keeps results so long after the batch finished.
    #[must_use]
    pub fn result_ttl(mut self, ttl: Duration) -> Self {
        self.result_ttl = Some(ttl);
        self
    }

    /// Starts no more of a `map` once its results take more bytes in Redis. Results that an attached handle has
    /// delivered take none.
    #[must_use]
    pub fn result_bytes(mut self, bytes: u64) -> Self {
        self.result_bytes = Some(bytes);
        self
    }

    /// Lets a task expire that has not started so long after it was due.
    #[must_use]
    #[doc(alias = "expires")]
    pub fn expires_after(mut self, life: Duration) -> Self {
        self.expires_after = Some(life);
        self
    }

    /// Starts the tasks only after this delay.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Starts the tasks not before this time.
    #[must_use]
    pub fn at(mut self, time: SystemTime) -> Self {
        self.at = Some(time);
        self
    }

    /// Fails or waits while there is no room.
    #[must_use]
    pub fn when_full(mut self, choice: WhenFull) -> Self {
        self.when_full = Some(choice);
        self
    }

    /// Gives up waiting for room after this time.
    #[must_use]
    pub fn room_timeout(mut self, timeout: Duration) -> Self {
        self.room_timeout = Some(timeout);
        self
    }

    /// Puts so many tasks into each message, instead of as many as measured time suggests.
    #[must_use]
    pub fn chunk(mut self, tasks: u32) -> Self {
        self.chunk = Some(tasks);
        self
    }

    /// Keeps each result of a `map` in Redis until the handle's `acknowledge` says that it is safe: whoever dies before
    /// finds it there, by the batch's id. Results that nobody acknowledges fill the room that results may take.
    #[must_use]
    pub fn acknowledge(mut self, wanted: bool) -> Self {
        self.acknowledge = Some(wanted);
        self
    }

    /// Cancels a `map` whose handle is dropped, or lets it be. Results that its handle did not deliver can be collected by
    /// the batch's id.
    #[must_use]
    pub fn on_drop(mut self, choice: OnDrop) -> Self {
        self.on_drop = Some(choice);
        self
    }

    /// Gives a `submit` an idempotency key, of 1 to 256 bytes: whoever submits the same arguments and shared input to the same kernel
    /// with it within the window gets a handle of this task, however it ended, and nothing is enqueued. Results are kept at
    /// least for the window; what is forgotten ([`Handle::forget`](crate::Handle::forget)) is gone, and the key is taken all
    /// the same. Other work with the same key is an error; other options are not compared.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Keeps the key so long, from 1 s to 30 days, from the submission on.
    #[must_use]
    pub fn key_window(mut self, window: Duration) -> Self {
        self.key_window = Some(window);
        self
    }

    /// Writes on the batch, for people who look at it: at most 16 labels, names of 1 to 64 characters of `a-z`, `0-9`, `_`,
    /// `.`, `-`, values of at most 256 bytes.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Stores no outputs: it is known how each task ended, but what it returned is dropped.
    #[must_use]
    pub fn ignore_result(mut self, wanted: bool) -> Self {
        self.ignore_result = Some(wanted);
        self
    }

    /// Shares a value with all tasks of the batch: kernels read it with `TaskContext::shared`. It is encoded here, stored in
    /// Redis once, packed where that pays, and fetched once by each consumer that runs tasks of the batch. At most 4 GiB.
    /// It is deleted with its batch; a `map` whose results were all delivered deletes it at once, unless tasks of it
    /// became dead letters.
    #[must_use]
    pub fn shared(mut self, data: &(impl Serialize + ?Sized)) -> Self {
        self.shared = Some(SharedData::of(data));
        self
    }

    /// The same with binary data, which kernels read with `TaskContext::shared_bytes`. It is not copied.
    #[must_use]
    pub fn shared_bytes(mut self, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        self.shared = Some(SharedData::bytes(bytes));
        self
    }

    /// The same with a value that is MessagePack already.
    #[must_use]
    pub fn shared_raw(mut self, value: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        self.shared = Some(SharedData::raw(value));
        self
    }

    /// What travels in the body of every message.
    pub(crate) fn task_options(&self) -> TaskOptions {
        TaskOptions {
            retries: self.retries,
            backoff_ms: self.backoff.map(milliseconds),
            backoff_max_ms: self.backoff_max.map(milliseconds),
            soft_time_limit_ms: self.soft_time_limit.map(milliseconds),
            time_limit_ms: self.time_limit.map(milliseconds),
            memory_bytes: self.memory.map(|bytes| bytes.clamp(1, defaults::INTEGER_MAX)),
            ignore_result: self.ignore_result,
        }
    }

    /// What the first call writes into the batch.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let labels = self.labels.iter().map(|(name, value)| (label_field(name), value.clone()));
        labels.chain(self.key.clone().map(|key| ("key".to_owned(), key))).collect()
    }

    /// When waiting for room that begins now is given up.
    pub(crate) fn room_deadline(&self) -> Instant {
        from_now(self.room_timeout.unwrap_or(FOREVER))
    }

    pub(crate) fn effective_result_bytes(&self) -> u64 {
        self.result_bytes.unwrap_or(defaults::RESULT_BYTES_MAX)
    }

    /// Whoever comes with the key as long as it is kept finds the results.
    pub(crate) fn effective_result_ttl(&self) -> Duration {
        let ttl = self.result_ttl.unwrap_or(defaults::RESULT_TTL).min(LONGEST);
        self.effective_key_window().map_or(ttl, |window| ttl.max(window))
    }

    /// How long the key is kept, if there is one.
    pub(crate) fn effective_key_window(&self) -> Option<Duration> {
        self.key.is_some().then(|| self.key_window.unwrap_or(defaults::KEY_WINDOW))
    }

    pub(crate) fn effective_lane(&self) -> Lane {
        self.lane.unwrap_or_default()
    }

    /// When the tasks become due, if not at once: the later of what was asked for, epoch ms.
    pub(crate) fn due_at_ms(&self, now_ms: u64) -> Option<u64> {
        let after = self.delay.map(|delay| now_ms + milliseconds(delay.min(LONGEST)));
        let at = self.at.map(|at| milliseconds(at.duration_since(UNIX_EPOCH).unwrap_or_default().min(LONGEST)));
        after.max(at).filter(|due| *due > now_ms)
    }

    /// When a message expires that is due at this time.
    pub(crate) fn expires_at_ms(&self, due_ms: u64) -> u64 {
        due_ms + milliseconds(self.expires_after.unwrap_or(defaults::MESSAGE_LIFE).min(LONGEST))
    }

    /// How much longer a blob of this submission must live than its message: longer than any batch that names it.
    pub(crate) fn blob_margin(&self) -> Duration {
        self.effective_result_ttl() + defaults::BLOB_MARGIN
    }
}

/// A duration as the protocol writes it: at least 1 ms, so that a tiny limit is not read as none.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, defaults::INTEGER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_764_000_000_000;

    #[test]
    fn no_duration_is_too_long() {
        let max = Duration::MAX;
        let options = SubmitOptions::new().delay(max).expires_after(max).result_ttl(max).time_limit(max);
        let due = options.due_at_ms(NOW_MS).unwrap();
        let margin = milliseconds(options.blob_margin());
        assert!(due > NOW_MS && options.expires_at_ms(due) + margin < defaults::INTEGER_MAX);
        assert_eq!(options.task_options().time_limit_ms, Some(defaults::INTEGER_MAX));
    }

    #[test]
    fn the_later_of_two_times_counts_and_the_past_is_now() {
        let minute = Duration::from_secs(60);
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(SubmitOptions::new().due_at_ms(NOW_MS), None);
        assert_eq!(SubmitOptions::new().at(at(NOW_MS - 1)).due_at_ms(NOW_MS), None);
        assert_eq!(SubmitOptions::new().at(UNIX_EPOCH - minute).due_at_ms(NOW_MS), None);
        let both = SubmitOptions::new().delay(minute).at(at(NOW_MS + 5));
        assert_eq!(both.due_at_ms(NOW_MS), Some(NOW_MS + 60_000));
        assert_eq!(both.at(at(NOW_MS + 90_000)).due_at_ms(NOW_MS), Some(NOW_MS + 90_000));
    }
}
