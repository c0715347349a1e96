//! What a running task can ask of its surroundings.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ids::{BatchId, TaskId};

type NoteProgress = dyn Fn(&str) + Send + Sync;

/// Handed to a kernel which takes `&TaskContext` as its first parameter.
#[derive(Clone)]
pub struct TaskContext {
    task: TaskId,
    attempt: u16,
    stop: Arc<AtomicBool>,
    progress: Arc<NoteProgress>,
}

impl TaskContext {
    /// A context for a task that a worker runs: `stop` is set when the task should end early,
    /// `progress` receives its notes.
    pub fn new(task: TaskId, attempt: u16, stop: Arc<AtomicBool>, progress: Arc<NoteProgress>) -> Self {
        Self { task, attempt, stop, progress }
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

    /// Whether the task should come to an end: it was cancelled. A long kernel looks now and then and
    /// returns an error; one that does not is ended with its process.
    pub fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
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
