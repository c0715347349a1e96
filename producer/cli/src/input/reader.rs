//! Reads rows on a thread of its own and turns each into a task's arguments.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use super::findings::{BadRow, Findings, Kept};
use super::plan::{EndedRow, Fate, Head, Plan};
use super::record::Record;
use super::rows::{Rows, Source};
use crate::json;

/// Rows that are handed on at once, and how many such portions wait for the client.
const PORTION: usize = 256;
const PORTIONS: usize = 4;
/// Nobody waits for more bytes of arguments than that before they are handed on.
const PORTION_BYTES: usize = 1 << 20;

/// Makes tasks of rows.
pub trait Make: Send {
    /// Looks at the columns, before the first row; an error ends the reading.
    fn columns(&mut self, names: &[String]) -> Result<(), String>;

    /// The arguments of one row, or what is wrong with it.
    fn row(&mut self, record: Record) -> Result<Made, String>;
}

/// A task.
#[derive(Debug, Default)]
pub struct Made {
    /// The MessagePack of its arguments.
    pub args: Vec<u8>,
    /// What people are shown as its arguments, also MessagePack, if that is something else.
    pub shown: Option<Vec<u8>>,
    /// What another run would read in place of a point of a grid, also MessagePack, if that is something else.
    pub again: Option<Vec<u8>>,
}

/// How the input is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// A bad row is noted, and does not end the reading.
    pub keep_going: bool,
    /// Each row is kept as it stands in the input until its task is answered.
    pub keep_sources: bool,
    /// The same for its arguments.
    pub keep_args: bool,
    /// Points of a grid are kept as rows of a table with this between its cells, not as JSON.
    pub grid_cells: Option<u8>,
}

/// An input that is being read.
pub struct Input {
    /// What is found beside the tasks.
    pub findings: Arc<Findings>,
    /// Arguments, in portions.
    pub portions: mpsc::Receiver<Vec<Vec<u8>>>,
    /// What is left of it when nobody wants more; dropped if nothing is.
    pub rest: oneshot::Receiver<Rest>,
}

/// The rows that nobody has read.
pub struct Rest {
    rows: Rows,
    make: Box<dyn Make>,
}

impl Rest {
    /// How many rows there were before it, and how many are left, where that is known.
    pub fn left(&self) -> Option<u64> {
        self.rows.total().map(|total| total - self.rows.taken)
    }

    /// The next row as it stands in the input, its line end included; none at the end, or where it cannot be read.
    pub fn next_source(&mut self) -> Option<Vec<u8>> {
        match self.rows.next() {
            Ok(Some(row)) => Some(if self.rows.is_shown_as_json() {
                let made = row.and_then(|record| self.make.row(record));
                made.map_or_else(|_| self.rows.source(), |made| shown(&made))
            } else {
                self.rows.source()
            }),
            Ok(None) | Err(_) => None,
        }
    }
}

/// Starts reading.
pub fn start(source: Source, make: Box<dyn Make>, reading: Reading) -> Input {
    go_on(source, make, reading, Plan::default()).0
}

/// The same where not all rows need to run. Nothing is handed on before the rows are known that need not.
pub fn go_on(source: Source, make: Box<dyn Make>, reading: Reading, plan: Plan) -> (Input, oneshot::Receiver<Head>) {
    let (to_head, from_head) = oneshot::channel();
    let findings = Arc::new(Findings::default());
    let (to, portions) = mpsc::channel(PORTIONS);
    let (end, rest) = oneshot::channel();
    let noted = findings.clone();
    std::thread::spawn(move || {
        let waits = match Builder::new_current_thread().build() {
            Ok(waits) => waits,
            Err(error) => {
                noted.state().failed = Some(error.to_string());
                return;
            }
        };
        let (portion, kept, head) = (Vec::new(), Vec::new(), Some((plan, Head::default(), to_head)));
        let reader = Reader { findings: noted, to, portion, bytes: 0, kept, reading, head, waits };
        if let Some(rest) = reader.run(source, make) {
            // Whoever wants it waits for it.
            let _ = end.send(rest);
        }
    });
    (Input { findings, portions, rest }, from_head)
}

/// The first bad row of an input; none, or how many rows it has.
pub fn check(source: Source, make: &mut dyn Make) -> std::io::Result<Result<u64, BadRow>> {
    let bad = |row, place, message| Ok(Err(BadRow { tasks_before: row, row, place, message, source: None }));
    let mut rows = match Rows::open(source) {
        Ok(rows) => rows,
        Err(message) => return bad(0, "line 1".into(), message),
    };
    if let Err(message) = columns(&rows, make) {
        return bad(0, rows.head().into(), message);
    }
    while let Some(row) = rows.next()? {
        if let Err(message) = row.and_then(|record| make.row(record)) {
            return bad(rows.taken - 1, rows.place(), message);
        }
    }
    Ok(Ok(rows.taken))
}

fn columns(rows: &Rows, make: &mut dyn Make) -> Result<(), String> {
    // An empty file has none, and nothing that they could not fit.
    rows.names().filter(|names| !names.is_empty()).map_or(Ok(()), |names| make.columns(names))
}

/// One line of JSON.
fn shown(made: &Made) -> Vec<u8> {
    let mut line = Vec::new();
    // What was made of JSON can be written as JSON.
    let _ = json::write_json(made.again.as_ref().unwrap_or(&made.args), &mut line);
    line.push(b'\n');
    line
}

struct Reader {
    findings: Arc<Findings>,
    to: mpsc::Sender<Vec<Vec<u8>>>,
    portion: Vec<Vec<u8>>,
    bytes: usize,
    /// What is kept of the rows of the portion.
    kept: Vec<Kept>,
    reading: Reading,
    /// As long as there may be rows that need not run.
    head: Option<(Plan, Head, oneshot::Sender<Head>)>,
    /// The thread waits for room, or for the word that nobody wants more.
    waits: Runtime,
}

impl Reader {
    /// Returns what nobody wanted any more.
    fn run(mut self, source: Source, mut make: Box<dyn Make>) -> Option<Rest> {
        let opened = Rows::open(source).map_err(|message| (message, "line 1"));
        let fits = |rows: Rows| match columns(&rows, &mut *make) {
            Ok(()) => Ok(rows),
            Err(message) => Err((message, rows.head())),
        };
        let mut rows = match opened.and_then(fits) {
            Ok(rows) => rows.with_grid_cells(self.reading.grid_cells),
            Err((message, place)) => {
                self.stop(BadRow { tasks_before: 0, row: 0, place: place.into(), message, source: None });
                self.end_head();
                return None;
            }
        };
        {
            let mut state = self.findings.state();
            state.header = rows.header();
            state.rows = rows.total();
        }
        loop {
            if self.head.as_ref().is_some_and(|(plan, ..)| plan.is_past(rows.taken)) {
                self.end_head();
            }
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) => {
                    self.findings.state().failed = Some(error.to_string());
                    break;
                }
            };
            match row.and_then(|record| make.row(record)) {
                Ok(made) => self.take(made, &rows),
                Err(message) => {
                    if !self.bad(&rows, message) {
                        self.end_head();
                        self.hand_on();
                        return Some(Rest { rows, make });
                    }
                }
            }
            // A slow writer's row is not held back until the portion is full.
            let full = self.portion.len() >= PORTION || self.bytes >= PORTION_BYTES || !rows.has_more();
            if full && self.head.is_none() && !self.hand_on() {
                return Some(Rest { rows, make });
            }
        }
        self.end_head();
        self.hand_on();
        self.findings.state().rows = Some(rows.taken);
        None
    }

    /// What is known to need no run is left out.
    fn take(&mut self, made: Made, rows: &Rows) {
        let row = rows.taken - 1;
        let fate = self.head.as_mut().map_or(Fate::Runs, |(plan, ..)| plan.next(row));
        if fate == Fate::Runs {
            return self.push(made, rows);
        }
        self.leave_out();
        self.tell(rows, Some(&made));
        if let Fate::Ended { earlier, task } = fate {
            let kept = self.keep(&made, rows);
            if let Some((_, head, _)) = &mut self.head {
                head.left_out.insert(row);
                head.ended.push_back(EndedRow { row, earlier, task, kept });
            }
        }
    }

    /// Tells the row again, if somebody wants that.
    fn tell(&self, rows: &Rows, made: Option<&Made>) {
        if let Some(to) = self.head.as_ref().and_then(|(plan, ..)| plan.told(rows.taken - 1)) {
            let source = if rows.is_shown_as_json() { made.map(shown).unwrap_or_default() } else { rows.source() };
            // Whoever is gone wants it no more.
            let _ = self.waits.block_on(to.send(source));
        }
    }

    /// From here on all rows run.
    fn end_head(&mut self) {
        let Some((plan, mut head, to)) = self.head.take() else { return };
        plan.into_written().ranges().for_each(|range| head.left_out.insert_range(range));
        // Whoever wants it waits for it.
        let _ = to.send(head);
    }

    fn keep(&self, made: &Made, rows: &Rows) -> Kept {
        let Reading { keep_sources, keep_args, .. } = self.reading;
        let source = keep_sources.then(|| if rows.is_shown_as_json() { shown(made) } else { rows.source() });
        let args = keep_args.then(|| made.shown.as_ref().unwrap_or(&made.args).clone().into_boxed_slice());
        Kept { source: source.map(Vec::into_boxed_slice), args }
    }

    fn push(&mut self, made: Made, rows: &Rows) {
        if self.reading.keep_sources || self.reading.keep_args {
            let kept = self.keep(&made, rows);
            self.kept.push(kept);
        }
        self.bytes += made.args.len();
        self.portion.push(made.args);
    }

    /// Notes a bad row; `false` if it ends the reading.
    fn bad(&mut self, rows: &Rows, message: String) -> bool {
        if self.head.as_ref().is_some_and(|(plan, ..)| plan.is_written(rows.taken - 1)) {
            self.leave_out();
            self.tell(rows, None);
            return true;
        }
        let tasks_before = self.tasks();
        let source = self.reading.keep_sources.then(|| rows.source());
        let bad = BadRow { tasks_before, row: rows.taken - 1, place: rows.place(), message, source };
        if !self.reading.keep_going {
            self.stop(bad);
            return false;
        }
        self.leave_out();
        self.findings.state().bad.push_back(bad);
        true
    }

    /// Tasks so far.
    fn tasks(&self) -> u64 {
        self.findings.state().tasks + self.portion.len() as u64
    }

    /// Here stands a row that is no task.
    fn leave_out(&mut self) {
        let tasks_before = self.tasks();
        let mut state = self.findings.state();
        match state.places.last_mut() {
            Some((before, count)) if *before == tasks_before => *count += 1,
            last => {
                let count = last.map_or(0, |(_, count)| *count) + 1;
                state.places.push((tasks_before, count));
            }
        }
    }

    fn stop(&self, bad: BadRow) {
        self.findings.state().stopped_at = Some(bad);
        self.findings.stopped.notify_one();
    }

    /// `false`: nobody wants more.
    fn hand_on(&mut self) -> bool {
        if self.portion.is_empty() {
            return !self.to.is_closed();
        }
        let portion = std::mem::take(&mut self.portion);
        self.bytes = 0;
        {
            let mut state = self.findings.state();
            let first = state.tasks;
            state.kept.extend((first..).zip(self.kept.drain(..)));
            state.tasks += portion.len() as u64;
        }
        let (to, halt) = (&self.to, &self.findings.halt);
        self.waits.block_on(async {
            tokio::select! {
                biased;
                () = halt.notified() => false,
                sent = to.send(portion) => sent.is_ok(),
            }
        })
    }
}
