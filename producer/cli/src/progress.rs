//! What a person sees while a command takes its time: on a terminal, on stderr, and gone at the end.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::table::plain;

const REDRAWN_PER_SECOND: u8 = 10;
const SPINS_EVERY: Duration = Duration::from_millis(100);

const COUNTING: &str = "{spinner} {pos} {msg}, {rate}";
const MEASURED: &str = "{bar:30} {pos} of {len} {msg}, {rate}, {eta} left";
const TELLING: &str = "{spinner} {msg}, {elapsed}";

/// A line that shows how far something is. Dropping it removes it.
pub struct Progress {
    bar: ProgressBar,
    /// Whether data goes to a terminal, too, which may be the same one.
    data_is_seen: bool,
}

impl Progress {
    /// Counts things of this name.
    pub fn counting(things: &'static str) -> Self {
        let progress = Self::start(COUNTING);
        progress.bar.set_message(things);
        progress
    }

    /// Tells what happens.
    pub fn telling(what: &str) -> Self {
        let progress = Self::start(TELLING);
        progress.bar.set_message(what.to_owned());
        progress
    }

    fn start(template: &str) -> Self {
        // Hidden by itself unless stderr is a terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWN_PER_SECOND));
        bar.set_style(style(template));
        if !bar.is_hidden() {
            bar.enable_steady_tick(SPINS_EVERY);
        }
        Self { bar, data_is_seen: std::io::stdout().is_terminal() }
    }

    /// Whether anybody sees it.
    pub fn is_seen(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// So many are done.
    pub fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// So many there are.
    pub fn set_total(&self, total: u64) {
        if self.bar.length() != Some(total) {
            if self.bar.length().is_none() {
                self.bar.set_style(style(MEASURED));
            }
            self.bar.set_length(total);
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

fn style(template: &str) -> ProgressStyle {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let rate = state.per_sec();
        // The line is for people: what cannot be written is no reason to fail.
        let _ = if rate >= 10.0 { write!(out, "{rate:.0}/s") } else { write!(out, "{rate:.1}/s") };
    };
    let elapsed = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{}", crate::times::short(Duration::from_secs(state.elapsed().as_secs())));
    };
    // A template that is wrong shows nothing but a bar; the test below reads all of them.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", rate).with_key("elapsed", elapsed).progress_chars("=> ")
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
}
