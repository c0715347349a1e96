//! What a running task can ask of its surroundings.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::ids::{BatchId, TaskId};

type NoteProgress = dyn Fn(&str) + Send + Sync;

/// Handed to a kernel which takes `&TaskContext` as its first parameter.
#[derive(Clone)]
pub struct TaskContext {
    task: TaskId,
    attempt: u16,
    stop: Arc<AtomicBool>,
    progress: Arc<NoteProgress>,
    soft_limit_at: Option<Instant>,
}

impl TaskContext {
    /// A context for a task that a worker runs: `stop` is set when the task should end early,
    /// `progress` receives its notes.
    pub fn new(task: TaskId, attempt: u16, stop: Arc<AtomicBool>, progress: Arc<NoteProgress>) -> Self {
        Self { task, attempt, stop, progress, soft_limit_at: None }
    }

    /// The same, of a task whose soft time limit passes so much later than now.
    #[must_use]
    pub fn soft_time_limit(mut self, limit: Option<Duration>) -> Self {
        // None: beyond what a clock can hold, so it never passes.
        self.soft_limit_at = limit.and_then(|limit| Instant::now().checked_add(limit));
        self
    }

    /// A context for calling a kernel as a plain function: nobody stops it, notes go nowhere.
    pub fn detached() -> Self {
        let task = BatchId::from_bytes([0; 16]).task(0);
        Self::new(task, 1, Arc::default(), Arc::new(|_| {}))
    }

    /// The id of the running task.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u16 {
        self.attempt
    }

    /// Whether nobody wants the result any more: the task was cancelled. A long kernel looks now and then
    /// and returns an error; one that does not is ended with its process. Once true, it stays true.
    pub fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether the soft time limit has passed: the task should come to an end with what it has. What the
    /// kernel returns from now on counts as ever: a value is its result, an error is retried as configured.
    /// One that goes on is ended with its process when the (hard) time limit passes. Without a soft limit
    /// never true.
    pub fn soft_limit_passed(&self) -> bool {
        self.soft_limit_at.is_some_and(|at| Instant::now() >= at)
    }

    /// Leaves a note (at most 120 bytes are kept) that `status` shows, and that a death
    /// certificate quotes.
    pub fn progress(&self, note: &str) {
        (self.progress)(note);
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext").field("task", &self.task).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_limit_passes_once_and_stays_passed() {
        let context = TaskContext::detached();
        assert!(!context.soft_limit_passed(), "without a limit never");
        let context = context.soft_time_limit(Some(Duration::from_millis(5)));
        let began = Instant::now();
        while !context.soft_limit_passed() {
            std::thread::yield_now();
        }
        assert!(began.elapsed() >= Duration::from_millis(4));
        assert!(context.soft_limit_passed() && !context.should_stop(), "nobody has cancelled it");
        assert!(!TaskContext::detached().soft_time_limit(Some(Duration::MAX)).soft_limit_passed());
    }
}
