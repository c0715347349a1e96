//! What a running task can ask of its surroundings.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ids::{BatchId, TaskId};
use crate::kernel_error::KernelError;
use crate::shared_input::{SharedBytes, SharedInput};
use crate::state::States;

/// Takes what a task tells of itself: how far it is (none: as before), and its note.
type Report = dyn Fn(Option<f64>, &str) + Send + Sync;

/// What all tasks of one consumer have in common.
pub struct Surroundings {
    stop: Arc<AtomicBool>,
    report: Box<Report>,
    states: States,
}

impl Surroundings {
    /// `stop` is set while the running task should end early; `report` receives how far it is, from 0 to 1 (none: as
    /// before), and its note; `states` is what the worker keeps for its kernels.
    pub fn new(
        stop: Arc<AtomicBool>,
        states: States,
        report: impl Fn(Option<f64>, &str) + Send + Sync + 'static,
    ) -> Self {
        Self { stop, report: Box::new(report), states }
    }
}

/// Handed to a kernel which takes `&TaskContext` as its first parameter.
///
/// A kernel is tested as a plain function with a [`detached`](Self::detached) context.
#[derive(Clone)]
pub struct TaskContext {
    // Shared by all tasks of a consumer: a task costs no allocation.
    surroundings: Arc<Surroundings>,
    task: TaskId,
    attempt: u16,
    soft_limit_at: Option<Instant>,
    shared: Option<Arc<SharedInput>>,
}

impl TaskContext {
    /// A context for a task that a worker runs.
    pub fn new(surroundings: &Arc<Surroundings>, task: TaskId, attempt: u16) -> Self {
        Self { surroundings: Arc::clone(surroundings), task, attempt, soft_limit_at: None, shared: None }
    }

    /// The same, of a task whose soft time limit passes so much later than now.
    #[must_use]
    pub fn soft_time_limit(mut self, limit: Option<Duration>) -> Self {
        // None: beyond what a clock can hold, so it never passes.
        self.soft_limit_at = limit.and_then(|limit| Instant::now().checked_add(limit));
        self
    }

    /// The same, of a task whose batch has this shared input.
    #[must_use]
    pub fn shared_input(mut self, shared: Option<Arc<SharedInput>>) -> Self {
        self.shared = shared;
        self
    }

    /// A context for calling a kernel as a plain function: nobody stops it, what it reports goes nowhere, and it keeps
    /// no state but what it is given.
    ///
    /// ```
    /// # use gristmill_shared::{KernelError, TaskContext};
    /// struct Words(Vec<String>);
    ///
    /// fn nth(ctx: &TaskContext, n: usize) -> Result<String, KernelError> {
    ///     ctx.progress(0.5, "looking");
    ///     let Words(words) = ctx.state()?;
    ///     words.get(n).cloned().ok_or_else(|| KernelError::fatal("there are not so many words"))
    /// }
    ///
    /// let ctx = TaskContext::detached().with_state(Words(vec!["one".into()])).with_attempt(2);
    /// assert_eq!(nth(&ctx, 0).unwrap(), "one");
    /// ```
    pub fn detached() -> Self {
        let task = BatchId::from_bytes([0; 16]).task(0);
        Self::new(&Arc::new(Surroundings::new(Arc::default(), States::default(), |_, _| {})), task, 1)
    }

    /// A detached context that keeps this value, as a worker does which preloads it. Of two values of one type the
    /// later counts.
    #[must_use]
    pub fn with_state<T: Send + Sync + 'static>(self, state: T) -> Self {
        self.altered(|surroundings| surroundings.states.replace(state))
    }

    /// A detached context whose batch shares this value.
    #[must_use]
    pub fn with_shared(self, data: &(impl Serialize + ?Sized)) -> Self {
        self.shared_input(Some(Arc::new(SharedInput::of(data))))
    }

    /// A detached context whose batch shares these bytes.
    #[must_use]
    pub fn with_shared_bytes(self, bytes: &[u8]) -> Self {
        self.with_shared(serde_bytes::Bytes::new(bytes))
    }

    /// The same of another attempt, from 1.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u16) -> Self {
        self.attempt = attempt;
        self
    }

    /// A detached context whose task should stop as soon as `stop` is true.
    #[must_use]
    pub fn with_stop(self, stop: Arc<AtomicBool>) -> Self {
        self.altered(|surroundings| surroundings.stop = stop)
    }

    /// A detached context that hands what is reported to `report`: how far the task is (none: as before), and its note.
    #[must_use]
    pub fn with_report(self, report: impl Fn(Option<f64>, &str) + Send + Sync + 'static) -> Self {
        self.altered(|surroundings| surroundings.report = Box::new(report))
    }

    /// Surroundings of its own, changed. Only tests do so.
    fn altered(mut self, change: impl FnOnce(&mut Surroundings)) -> Self {
        let old = Arc::clone(&self.surroundings);
        let mut own = Surroundings {
            stop: Arc::clone(&old.stop),
            states: old.states.clone(),
            report: Box::new(move |fraction, note| (old.report)(fraction, note)),
        };
        change(&mut own);
        self.surroundings = Arc::new(own);
        self
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
        self.surroundings.stop.load(Ordering::Relaxed)
    }

    /// Whether the soft time limit has passed: the task should come to an end with what it has. What the
    /// kernel returns from now on counts as ever: a value is its result, an error is retried as configured.
    /// One that goes on is ended with its process when the (hard) time limit passes. Without a soft limit
    /// never true.
    pub fn soft_limit_passed(&self) -> bool {
        self.soft_limit_at.is_some_and(|at| Instant::now() >= at)
    }

    /// Tells how far the task is, from 0 to 1, and what it does (at most 120 bytes are kept): `status`, handles and
    /// progress bars show it, and a death certificate quotes it. Cheap enough for an inner loop: it is written to
    /// memory that the worker shares with its agent, which sends it on about once a second. A fraction beyond the range
    /// is taken for its end; one that is not a number leaves the last one as it is.
    pub fn progress(&self, fraction: f64, note: &str) {
        let fraction = (!fraction.is_nan()).then(|| fraction.clamp(0.0, 1.0));
        (self.surroundings.report)(fraction, note);
    }

    /// Tells what the task does, where nobody knows how far it is. See [`progress`](Self::progress).
    pub fn note(&self, note: &str) {
        (self.surroundings.report)(None, note);
    }

    /// What the worker keeps of this type: made by `Worker::preload` before the fork, one copy for all consumers, or
    /// by `Worker::init`, one per consumer. If there is none, the error says so.
    pub fn state<T: Send + Sync + 'static>(&self) -> Result<&T, KernelError> {
        self.surroundings.states.get()
    }

    /// What all tasks of the batch share, as it was given to `SubmitOptions::shared`. It was fetched once for all tasks
    /// of this consumer; the first task that asks decodes it, which may take a while, and the others get the same value.
    /// If there is none, or it is of another type, the error says so, and trying again is in vain.
    pub fn shared<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, KernelError> {
        self.input()?.get()
    }

    /// The same where it is binary data, as given to `SubmitOptions::shared_bytes`. Nothing is copied.
    pub fn shared_bytes(&self) -> Result<SharedBytes, KernelError> {
        self.input()?.bytes()
    }

    fn input(&self) -> Result<&SharedInput, KernelError> {
        let missing = "this batch has no shared input: submit it with SubmitOptions::shared, or --shared";
        self.shared.as_deref().ok_or_else(|| KernelError::fatal(missing).kind("no_shared_input"))
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext").field("task", &self.task).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

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

    #[test]
    fn fractions_lie_between_nothing_and_all() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&seen);
        let context = TaskContext::detached()
            .with_report(move |fraction, note| theirs.lock().unwrap().push((fraction, note.to_owned())));
        for fraction in [-1.0, 0.25, 7.0, f64::INFINITY, f64::NAN] {
            context.progress(fraction, "x");
        }
        context.note("y");
        let seen: Vec<_> = std::mem::take(&mut seen.lock().unwrap());
        let fractions: Vec<_> = seen.iter().map(|(fraction, _)| *fraction).collect();
        assert_eq!(fractions, [Some(0.0), Some(0.25), Some(1.0), Some(1.0), None, None]);
        assert_eq!(seen[5].1, "y");
    }

    #[test]
    fn a_detached_context_keeps_all_that_it_is_given() {
        let stop = Arc::new(AtomicBool::new(true));
        let context = TaskContext::detached().with_state(5u8).with_stop(stop).with_state(6u8).with_attempt(3);
        assert_eq!((context.state(), context.should_stop(), context.attempt()), (Ok(&6u8), true, 3));
        assert!(TaskContext::detached().state::<u8>().is_err());
        let context = context.with_shared(&vec![1u16, 2]);
        assert_eq!(*context.shared::<Vec<u16>>().unwrap(), [1, 2]);
        assert_eq!(&*context.with_shared_bytes(b"abc").shared_bytes().unwrap(), b"abc");
        let error = TaskContext::detached().shared::<u8>().unwrap_err();
        assert!(error.to_string().contains("no shared input"), "{error}");
    }
}
