//! The log of a worker, read line by line while it is written, so that tests can wait for an event.

use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::wait::{DEADLINE, Patience};

/// Lines that a panic shows.
const SHOWN: usize = 60;

/// One line: JSON, or, of whoever else wrote to stderr, text in the field `text`.
#[derive(Debug, Clone)]
pub struct Line(Value);

impl Line {
    fn read(text: &str) -> Self {
        let json = serde_json::from_str(text).ok().filter(Value::is_object);
        Self(json.unwrap_or_else(|| serde_json::json!({ "text": text })))
    }

    /// The event's name, empty if it has none.
    pub fn event(&self) -> &str {
        self.text("event")
    }

    /// A field as text, empty if it is missing.
    pub fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole line.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// A field as a number.
    pub fn number(&self, field: &str) -> Option<i64> {
        self.0.get(field).and_then(Value::as_i64)
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    ended: bool,
}

/// All lines so far, and those to come.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    /// Reads `stderr` on a thread of its own until its end.
    pub fn of(stderr: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut bytes = Vec::new();
            while matches!(stderr.read_until(b'\n', &mut bytes), Ok(read) if read > 0) {
                let line = Line::read(String::from_utf8_lossy(&bytes).trim_end());
                bytes.clear();
                lock(&theirs).lines.push(line);
                theirs.changed.notify_all();
            }
            lock(&theirs).ended = true;
            theirs.changed.notify_all();
        });
        Self { shared, reader: Some(reader) }
    }

    /// A place in the log: everything after it is yet to come.
    pub fn mark(&self) -> usize {
        lock(&self.shared).lines.len()
    }

    /// All lines so far that fit.
    pub fn all(&self, fits: impl Fn(&Line) -> bool) -> Vec<Line> {
        lock(&self.shared).lines.iter().filter(|line| fits(line)).cloned().collect()
    }

    /// All lines of an event so far.
    pub fn events(&self, event: &str) -> Vec<Line> {
        self.all(|line| line.event() == event)
    }

    /// Waits for a line of this event.
    pub fn wait(&self, event: &str) -> Line {
        self.wait_for(event, |_| true)
    }

    /// Waits for a line of this event that fits.
    pub fn wait_for(&self, event: &str, fits: impl Fn(&Line) -> bool) -> Line {
        self.wait_after(0, event, fits)
    }

    /// The same, behind a mark only.
    pub fn wait_after(&self, mark: usize, event: &str, fits: impl Fn(&Line) -> bool) -> Line {
        let found = self.look(mark, DEADLINE, |lines| lines.iter().find(|l| l.event() == event && fits(l)).cloned());
        found.unwrap_or_else(|| panic!("no {event} in the log within {DEADLINE:?}; its end:\n{}", self.tail()))
    }

    /// Waits until an event has come so often.
    pub fn wait_count(&self, event: &str, count: usize) {
        let enough = |lines: &[Line]| lines.iter().filter(|line| line.event() == event).count() >= count;
        let found = self.look(0, DEADLINE, |lines| enough(lines).then_some(()));
        found.unwrap_or_else(|| panic!("not {count} of {event} in the log within {DEADLINE:?}:\n{}", self.tail()));
    }

    fn look<T>(&self, mark: usize, within: Duration, find: impl Fn(&[Line]) -> Option<T>) -> Option<T> {
        let mut patience = Patience::new(within);
        let mut state = lock(&self.shared);
        loop {
            if let Some(found) = find(state.lines.get(mark..).unwrap_or_default()) {
                return Some(found);
            }
            if patience.is_over() || state.ended {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(state, patience.step());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            patience.tick();
        }
    }

    /// The last lines, for the message of a failed test.
    pub fn tail(&self) -> String {
        let state = lock(&self.shared);
        let from = state.lines.len().saturating_sub(SHOWN);
        state.lines[from..].iter().fold(String::new(), |mut text, line| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", line.0);
            text
        })
    }

    /// Waits for the end of the log: nobody can write to it any more.
    pub fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            // A panic of the reader has been printed.
            let _ = reader.join();
        }
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}
