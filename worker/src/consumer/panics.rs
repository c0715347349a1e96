//! A panic in a kernel is a failed task with a text, and one log line instead of a print-out.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};

thread_local! {
    // The payload that catch_unwind returns has no location; the hook, on the same thread, does.
    static WHERE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Logs panics of this process from now on.
pub fn install_hook() {
    panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let place = info.location().map(ToString::to_string);
        let text = said(info.payload());
        tracing::warn!(place = place.as_deref().unwrap_or("unknown"), "panicked: {text}");
        // While a thread is torn down there is nobody left to ask for it.
        let _ = WHERE.try_with(|cell| cell.replace(place));
    }));
}

/// What is told of a caught panic.
pub fn text(payload: &(dyn Any + Send)) -> String {
    let place = WHERE.with(RefCell::take);
    match place {
        Some(place) => format!("panicked at {place}: {}", said(payload)),
        None => format!("panicked: {}", said(payload)),
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
