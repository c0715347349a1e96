//! Panics. In a kernel: a failed task with a text, and one log line instead of a print-out. In our own
//! code: the end of the process, charged to the task that ran last.
//!
//! Our own code panics when a kernel has ruined the process, by closing our descriptors, say. The
//! task may have returned by then: if nobody were charged, it would come back for ever.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use gristmill_shared::KernelError;

use crate::slot::{Begin, SlotRef};

/// What sort of error a panic is.
const KIND: &str = "panic";

thread_local! {
    // The payload that catch_unwind returns has no location; the hook, on the same thread, does.
    static WHERE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// This thread runs our own code. False in kernels, and in threads that they start.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Knows the task that ran last.
pub struct Culprit {
    slot: SlotRef,
    last: Mutex<Option<Begin>>,
}

impl Culprit {
    /// Nobody yet.
    pub fn new(slot: SlotRef) -> Self {
        Self { slot, last: Mutex::default() }
    }

    /// Marks a task as running. False: the I/O thread has ended this process's work.
    pub fn begin(&self, task: Begin) -> bool {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        self.slot.begin(&task)
    }

    /// Shows the last task as running again, unless one runs anyway, and ends the process.
    fn charge(&self) -> ! {
        if let Some(last) = self.last.try_lock().ok().and_then(|last| *last) {
            // False: one runs.
            let _ = self.slot.begin(&last);
        }
        std::process::abort()
    }
}

/// Takes over panics of this process from now on.
pub fn install_hook(culprit: Arc<Culprit>) {
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let place = info.location().map(ToString::to_string);
        let (text, known) = (said(info.payload()), place.as_deref().unwrap_or("an unknown place"));
        // While a thread is torn down its thread-locals are gone, and it is none of ours.
        if OURS.try_with(Cell::get).unwrap_or(false) {
            tracing::error!("this process is broken: panicked at {known}: {text}");
            culprit.charge();
        }
        tracing::warn!("the code of a kernel panicked at {known}: {text}");
        let _ = WHERE.try_with(|cell| cell.replace(place));
    }));
}

/// Says that this thread runs our own code.
pub fn guard_thread() {
    OURS.set(true);
}

/// Runs a kernel; a panic is an error with its text and its place.
pub fn in_kernel<T>(kernel: impl FnOnce() -> T) -> Result<T, KernelError> {
    OURS.set(false);
    // A kernel that panics leaves nothing of ours half done: it owns its arguments and its output.
    let result = catch_unwind(AssertUnwindSafe(kernel));
    OURS.set(true);
    result.map_err(|payload| error(payload.as_ref()))
}

fn error(payload: &(dyn Any + Send)) -> KernelError {
    let error = KernelError::new(format!("panicked: {}", said(payload))).kind(KIND);
    match WHERE.with(RefCell::take) {
        Some(place) => error.at(place),
        None => error,
    }
}

fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_text_are_read() {
        assert_eq!(said(&"static"), "static");
        assert_eq!(said(&String::from("made")), "made");
        assert_eq!(said(&5), "(no text)");
    }
}
