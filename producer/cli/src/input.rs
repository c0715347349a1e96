//! Reads JSON Lines on a thread of its own and turns each line into a task's arguments.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill::shared::defaults::BLOB_BYTES_MAX;
use tokio::sync::{Notify, mpsc};

use crate::json;

/// Base64 makes bytes longer by a third; a longer line cannot become an argument.
const LINE_MAX: usize = 2 * BLOB_BYTES_MAX;
/// Lines that are handed on at once, and how many such portions wait for the client.
const PORTION: usize = 256;
const PORTIONS: usize = 4;

/// A line that is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// How many tasks stand before it.
    pub tasks_before: u64,
    /// Its number, from 1.
    pub number: u64,
    /// What is wrong with it.
    pub message: String,
}

/// What the reader found that are no tasks.
#[derive(Debug, Default)]
pub struct Findings {
    state: Mutex<State>,
    /// Reading stopped at a bad line.
    pub stopped: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Bad lines that nobody took yet.
    bad: VecDeque<BadLine>,
    /// Where bad lines stand: tasks before them, and how many there are up to there.
    places: Vec<(u64, u64)>,
    stopped_at: Option<BadLine>,
    failed: Option<String>,
    tasks: u64,
    /// Lines of the whole input, once that is known.
    lines: Option<u64>,
}

impl Findings {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next bad line that stands before the task `index`.
    pub fn take_bad_before(&self, index: u64) -> Option<BadLine> {
        self.state().bad.pop_front_if(|bad| bad.tasks_before <= index)
    }

    /// The place of the line, from 0, which became the task `index`.
    pub fn line_of(&self, index: u64) -> u64 {
        let state = self.state();
        let before = state.places.partition_point(|(tasks_before, _)| *tasks_before <= index);
        index + before.checked_sub(1).map_or(0, |last| state.places[last].1)
    }

    /// The bad line that ended the reading.
    pub fn stopped_at(&self) -> Option<BadLine> {
        self.state().stopped_at.clone()
    }

    /// How many lines the input has, once that is known.
    pub fn lines(&self) -> Option<u64> {
        self.state().lines
    }

    /// Counts the lines of a file beforehand, for people who wait.
    pub fn count_ahead(self: &Arc<Self>, file: File) {
        let findings = self.clone();
        std::thread::spawn(move || {
            // A file that cannot be read is the business of whoever reads it for its tasks.
            if let Ok(lines) = count(file) {
                findings.state().lines.get_or_insert(lines);
            }
        });
    }

    /// Why the input could not be read to its end.
    pub fn failed(&self) -> Option<String> {
        self.state().failed.clone()
    }
}

/// Starts reading; the receiver yields arguments, in portions.
pub fn start(input: Box<dyn Read + Send>, keep_going: bool) -> (Arc<Findings>, mpsc::Receiver<Vec<Vec<u8>>>) {
    let findings = Arc::new(Findings::default());
    let (to, portions) = mpsc::channel(PORTIONS);
    let reader = Reader { findings: findings.clone(), to, portion: Vec::new(), keep_going };
    std::thread::spawn(move || reader.run(BufReader::with_capacity(64 * 1024, input)));
    (findings, portions)
}

/// The first bad line of an input, and how many lines it has.
pub fn check(input: Box<dyn Read + Send>) -> std::io::Result<Result<u64, BadLine>> {
    let mut lines = Lines::new(BufReader::new(input));
    let mut tasks_before = 0;
    while let Some(line) = lines.next()? {
        if let Err(message) = line.and_then(parse) {
            return Ok(Err(BadLine { tasks_before, number: lines.number, message }));
        }
        tasks_before += 1;
    }
    Ok(Ok(tasks_before))
}

/// The lines of a file. Empty ones at its end are none.
fn count(mut file: File) -> std::io::Result<u64> {
    let (mut lines, mut full, mut buffer) = (0, 0, vec![0; 64 * 1024]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(full);
        }
        for &byte in &buffer[..read] {
            if byte == b'\n' {
                lines += 1;
            } else if !byte.is_ascii_whitespace() {
                full = lines + 1;
            }
        }
    }
}

struct Reader {
    findings: Arc<Findings>,
    to: mpsc::Sender<Vec<Vec<u8>>>,
    portion: Vec<Vec<u8>>,
    keep_going: bool,
}

impl Reader {
    fn run(mut self, input: BufReader<Box<dyn Read + Send>>) {
        let mut lines = Lines::new(input);
        loop {
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.findings.state().failed = Some(error.to_string());
                    break;
                }
            };
            match line.and_then(parse) {
                Ok(args) => self.portion.push(args),
                Err(message) => {
                    if !self.bad(lines.number, message) {
                        break;
                    }
                }
            }
            // A slow writer's line is not held back until the portion is full.
            let full = self.portion.len() >= PORTION || !lines.has_more();
            if full && !self.hand_on() {
                return;
            }
        }
        self.hand_on();
        self.findings.state().lines = Some(lines.number);
    }

    /// Notes a bad line; `false` if it ends the reading.
    fn bad(&mut self, number: u64, message: String) -> bool {
        let mut state = self.findings.state();
        let bad = BadLine { tasks_before: state.tasks + self.portion.len() as u64, number, message };
        if self.keep_going {
            match state.places.last_mut() {
                Some((tasks_before, count)) if *tasks_before == bad.tasks_before => *count += 1,
                last => {
                    let count = last.map_or(0, |(_, count)| *count) + 1;
                    state.places.push((bad.tasks_before, count));
                }
            }
            state.bad.push_back(bad);
            return true;
        }
        state.stopped_at = Some(bad);
        drop(state);
        self.findings.stopped.notify_one();
        false
    }

    /// `false`: nobody wants more.
    fn hand_on(&mut self) -> bool {
        if self.portion.is_empty() {
            return !self.to.is_closed();
        }
        self.findings.state().tasks += self.portion.len() as u64;
        self.to.blocking_send(std::mem::take(&mut self.portion)).is_ok()
    }
}

fn parse(line: Vec<u8>) -> Result<Vec<u8>, String> {
    let text = String::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    if text.trim().is_empty() {
        return Err("an empty line (write null for a kernel without parameters)".into());
    }
    json::to_msgpack(&text).map_err(|error| error.to_string())
}

/// The lines of an input, each of bounded length. Empty lines at its end are none.
struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    /// Number of the line that was returned last, from 1.
    number: u64,
    /// Empty lines that count only if something follows, and what follows.
    empty: u64,
    held: Option<Result<Vec<u8>, String>>,
}

impl Lines {
    fn new(input: BufReader<Box<dyn Read + Send>>) -> Self {
        Self { input, number: 0, empty: 0, held: None }
    }

    fn has_more(&self) -> bool {
        self.held.is_some() || self.input.buffer().contains(&b'\n')
    }

    fn next(&mut self) -> std::io::Result<Option<Result<Vec<u8>, String>>> {
        while self.held.is_none() {
            match self.read()? {
                None => return Ok(None),
                Some(Ok(line)) if line.trim_ascii().is_empty() => self.empty += 1,
                Some(line) => self.held = Some(line),
            }
        }
        self.number += 1;
        if self.empty > 0 {
            self.empty -= 1;
            return Ok(Some(Ok(Vec::new())));
        }
        Ok(self.held.take())
    }

    fn read(&mut self) -> std::io::Result<Option<Result<Vec<u8>, String>>> {
        let mut line = Vec::new();
        self.input.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') || line.len() < LINE_MAX {
            return Ok(Some(Ok(line)));
        }
        self.skip_line()?;
        Ok(Some(Err(format!("longer than {LINE_MAX} bytes"))))
    }

    fn skip_line(&mut self) -> std::io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            let (used, found) = match buffer.iter().position(|&byte| byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.input.consume(used);
            if found {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str, keep_going: bool) -> (Arc<Findings>, usize) {
        let (findings, mut portions) = start(Box::new(text.as_bytes()), keep_going);
        let mut tasks = 0;
        while let Some(portion) = portions.blocking_recv() {
            tasks += portion.len();
        }
        (findings, tasks)
    }

    #[test]
    fn reading_stops_at_the_first_bad_line() {
        let (findings, tasks) = read("1\n2\nthree\n4\n", false);
        let bad = findings.stopped_at().unwrap();
        assert_eq!((tasks, bad.tasks_before, bad.number), (2, 2, 3));
        assert!(bad.message.starts_with("not JSON"), "{}", bad.message);
    }

    #[test]
    fn bad_lines_keep_their_place() {
        let (findings, tasks) = read("x\n1\n\n2\ny\n\n\n", true);
        assert_eq!(tasks, 2);
        let places = |index| -> Vec<u64> {
            std::iter::from_fn(|| findings.take_bad_before(index)).map(|bad| bad.number).collect()
        };
        assert_eq!((places(0), places(1), places(u64::MAX)), (vec![1], vec![3], vec![5]));
        assert_eq!((findings.line_of(0), findings.line_of(1)), (1, 3));
    }

    #[test]
    fn lines_are_counted_as_they_are_read() {
        for text in ["", "1", "1\n2\n", "1\n\n2", "\n\n", "\n1\n\n \r\n", "1\r\n2\r\n\r\n"] {
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            let (findings, tasks) = read(text, true);
            let bad = std::iter::from_fn(|| findings.take_bad_before(u64::MAX)).count();
            assert_eq!(count(file).unwrap(), (tasks + bad) as u64, "{text:?}");
            assert_eq!(findings.lines(), Some((tasks + bad) as u64), "{text:?}");
        }
    }

    #[test]
    fn a_last_line_needs_no_end_and_windows_ends_are_fine() {
        assert_eq!(read("1\r\n2", false).1, 2);
        assert_eq!(read("", false).1, 0);
        assert_eq!(check(Box::new("1\n2\n".as_bytes())).unwrap(), Ok(2));
        assert_eq!(check(Box::new("1\n[\n".as_bytes())).unwrap().unwrap_err().number, 2);
    }
}
