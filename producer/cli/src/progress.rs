//! What a person sees while a command takes its time: on a terminal, on stderr, and gone at the end.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::table::plain;

const REDRAWN_PER_SECOND: u8 = 10;
const SPINS_EVERY: Duration = Duration::from_millis(100);

const COUNTING: &str = "{spinner} {done} {things}, {pace}{wide_msg}";
const MEASURED: &str = "{bar:20} {done} of {total} {things}, {pace}{wide_msg}";
const TELLING: &str = "{spinner} {msg}, {elapsed}";

/// The steps of the bar per thing: what runs counts as far as it says that it is.
const STEPS: u64 = 1000;

/// A line that shows how far something is. Dropping it removes it.
pub struct Progress {
    bar: ProgressBar,
    /// What is counted.
    things: &'static str,
    /// Whether data goes to a terminal, too, which may be the same one.
    data_is_seen: bool,
}

impl Progress {
    /// Counts things of this name.
    pub fn counting(things: &'static str) -> Self {
        Self::start(COUNTING, things)
    }

    /// Tells what happens.
    pub fn telling(what: &str) -> Self {
        let progress = Self::start(TELLING, "");
        progress.bar.set_message(what.to_owned());
        progress
    }

    /// Shows nothing: a person types meanwhile, and has to see what.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), things: "", data_is_seen: std::io::stdout().is_terminal() }
    }

    fn start(template: &str, things: &'static str) -> Self {
        // Hidden by itself unless stderr is a terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWN_PER_SECOND));
        bar.set_style(style(template, things));
        if !bar.is_hidden() {
            bar.enable_steady_tick(SPINS_EVERY);
        }
        Self { bar, things, data_is_seen: std::io::stdout().is_terminal() }
    }

    /// Whether anybody sees it.
    pub fn is_seen(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// So many are done.
    pub fn set(&self, done: u64) {
        self.set_with(done, 0.0, "");
    }

    /// So many are done, so much of others besides, and one of those says this.
    pub fn set_with(&self, done: u64, begun: f64, note: &str) {
        self.bar.set_position(done * STEPS + (begun * STEPS as f64) as u64);
        // What a kernel notes must not reach the terminal as it is.
        self.bar.set_message(if note.is_empty() { String::new() } else { format!(", {}", plain(note)) });
    }

    /// So many there are.
    pub fn set_total(&self, total: u64) {
        let steps = total * STEPS;
        if self.bar.length() != Some(steps) {
            if self.bar.length().is_none() {
                self.bar.set_style(style(MEASURED, self.things));
            }
            self.bar.set_length(steps);
        }
    }

    /// This happens now.
    pub fn tell(&self, what: &str) {
        // What a kernel notes must not reach the terminal as it is.
        self.bar.set_message(plain(what));
    }

    /// Writes data, which must not meet the line on the terminal.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.data_is_seen && self.is_seen() { self.bar.suspend(write) } else { write() }
    }

    /// Removes the line.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn style(template: &str, things: &'static str) -> ProgressStyle {
    // The line is for people: what cannot be written is no reason to fail.
    let elapsed = |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", seconds(state.elapsed()));
    };
    let done = |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", state.pos() / STEPS);
    };
    let total = |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", state.len().unwrap_or(0) / STEPS);
    };
    let pace = |state: &ProgressState, out: &mut dyn Write| {
        let left = state.len().map(|_| state.eta());
        let _ = write!(out, "{}", pace(state.pos(), state.per_sec(), left, state.elapsed()));
    };
    // A template that is wrong shows nothing but a bar; the test below reads all of them.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let things = move |_: &ProgressState, out: &mut dyn Write| {
        let _ = out.write_str(things);
    };
    let style = style.with_key("done", done).with_key("total", total).with_key("things", things);
    style.with_key("pace", pace).with_key("elapsed", elapsed).progress_chars("=> ")
}

/// How fast it goes, and how long it will take; before anything is done nobody knows, and it has taken so long.
fn pace(steps: u64, steps_per_second: f64, left: Option<Duration>, elapsed: Duration) -> String {
    if steps < STEPS {
        return seconds(elapsed);
    }
    let rate = steps_per_second / STEPS as f64;
    let rate = if rate >= 10.0 { format!("{rate:.0}/s") } else { format!("{rate:.1}/s") };
    match left {
        // No time is how the bar says that it cannot tell.
        Some(left) if !left.is_zero() => {
            format!("{rate}, {} left", seconds(left.saturating_add(Duration::from_millis(999))))
        }
        _ => rate,
    }
}

/// Without the parts of a second.
fn seconds(time: Duration) -> String {
    match time.as_secs() {
        few @ 0..60 => format!("{few}s"),
        many => crate::times::short(Duration::from_secs(many)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_can_be_read() {
        for template in [COUNTING, MEASURED, TELLING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn no_end_is_foretold_before_anything_is_done() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(pace(0, 0.0, Some(Duration::ZERO), second), "1s");
        assert_eq!(pace(999, 50.0, Some(second), minute), "1m");
        assert_eq!(pace(1000, 50.0, Some(minute), second), "0.1/s, 1m left");
        assert_eq!(pace(1000, 0.0, Some(Duration::ZERO), second), "0.0/s");
        assert_eq!(pace(90_000, 20_000.0, Some(Duration::from_millis(1)), second), "20/s, 1s left");
        assert_eq!(pace(90_000, 20_000.0, None, second), "20/s");
    }
}
