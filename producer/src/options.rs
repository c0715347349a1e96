//! What a caller can say about a submission.

use std::time::Duration;

use gristmill_shared::defaults;
use gristmill_shared::{Lane, QueueName, TaskOptions};

/// A longer time than this is this time: sums of such times must fit into what Redis can count.
pub(crate) const LONGEST: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

/// Options of one submission. What is not set: as the client, the kernel or the defaults say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SubmitOptions {
    /// The queue; none: the client's.
    pub queue: Option<QueueName>,
    /// The lane within the queue.
    pub lane: Lane,
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
    /// A task that has not started by then expires, counted from its due time.
    pub expires_after: Option<Duration>,
    /// The tasks wait at least this long before they start.
    pub delay: Option<Duration>,
    /// Tasks per message of a `map`, 1 to 4,096; none: by measured time. A chunk is never larger than 48 KiB.
    pub chunk: Option<u32>,
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
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
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

    /// Lets a task expire that has not started so long after it was due.
    #[must_use]
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

    /// Puts so many tasks into each message, instead of as many as measured time suggests.
    #[must_use]
    pub fn chunk(mut self, tasks: u32) -> Self {
        self.chunk = Some(tasks);
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
        }
    }

    pub(crate) fn effective_result_ttl(&self) -> Duration {
        self.result_ttl.unwrap_or(defaults::RESULT_TTL).min(LONGEST)
    }

    /// How long a message of this submission can live, from now on.
    pub(crate) fn message_life(&self) -> Duration {
        let (delay, life) = (self.delay.unwrap_or_default(), self.expires_after.unwrap_or(defaults::MESSAGE_LIFE));
        delay.min(LONGEST) + life.min(LONGEST)
    }

    /// How long a blob of this submission must live, from now on: longer than any batch that names it.
    pub(crate) fn blob_life(&self) -> Duration {
        self.message_life() + self.effective_result_ttl() + defaults::BLOB_MARGIN
    }
}

/// A duration as the protocol writes it: at least 1 ms, so that a tiny limit is not read as none.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, defaults::INTEGER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_duration_is_too_long() {
        let max = Duration::MAX;
        let options = SubmitOptions::new().delay(max).expires_after(max).result_ttl(max).time_limit(max);
        let now_ms = 1_764_000_000_000;
        assert!(now_ms + milliseconds(options.blob_life()) < defaults::INTEGER_MAX);
        assert_eq!(options.task_options().time_limit_ms, Some(defaults::INTEGER_MAX));
    }
}
