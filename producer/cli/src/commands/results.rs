//! `gristmill results`.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use gristmill::shared::BatchId;
use gristmill::shared::duration::{FOREVER, from_now};
use gristmill::{Client, Results as Collected};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::args::{Global, Results};
use crate::counted::counted;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::record::{Answer, write_bare, write_record};
use crate::{say, session};

/// How often somebody who watches is told anew how many tasks there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn run(global: &Global, args: Results) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    let stream = if args.wait { client.results(args.batch) } else { client.results_present(args.batch) };
    let mut printer = Printer::new(args.batch, args.records, args.wait);
    let deadline = Instant::from(from_now(args.timeout.unwrap_or(FOREVER)));
    let ended = timeout_at(deadline, print_all(&client, stream, &mut printer)).await;
    printer.flush()?;
    printer.progress.end();
    match ended {
        Ok(ended) => ended?,
        Err(_) => {
            let message = format!("the batch {} has not finished in time; it goes on", args.batch);
            return Err(Exit::new(Exit::TIMEOUT, message));
        }
    }
    if !args.wait {
        tell_rest(&client, args.batch, printer.printed).await?;
    }
    if printer.failed > 0 {
        if let Some(error) = client.over_budget(args.batch).await? {
            return Err(error.into());
        }
        let (failed, printed) = (printer.failed, printer.printed);
        return Err(Exit::new(Exit::TASK, format!("{failed} of {} did not succeed", counted(printed, "task"))));
    }
    Ok(())
}

async fn print_all(client: &Client, mut stream: Collected, printer: &mut Printer) -> Result<(), Exit> {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            item = stream.next() => match item.transpose()? {
                Some((index, result)) => {
                    printer.take(index, result.map_or_else(|error| Answer::Error(error.into()), Answer::Value))?;
                }
                None => return printer.rest(),
            },
            _ = looks.tick(), if printer.progress.is_seen() => show_total(client, printer).await?,
        }
    }
}

/// An open batch may still grow; how many tasks it will have is not known before it is sealed.
async fn show_total(client: &Client, printer: &Printer) -> Result<(), Exit> {
    if let Some(total) = client.batch_record(printer.batch).await?.and_then(|record| record.total) {
        printer.progress.set_total(total);
    }
    Ok(())
}

async fn tell_rest(client: &Client, batch: BatchId, printed: u64) -> Result<(), Exit> {
    if let Some(record) = client.batch_record(batch).await?
        && record.tasks > printed
    {
        say!(
            "gristmill: {} of {} not ended yet; --wait waits for them",
            record.tasks - printed,
            counted(record.tasks, "task") + if record.tasks == 1 { " has" } else { " have" },
        );
    }
    Ok(())
}

/// Prints in the order of the tasks.
struct Printer {
    batch: BatchId,
    records: bool,
    /// Whether results come as tasks end; else they come in order already.
    waits: bool,
    next: u64,
    early: BTreeMap<u64, Answer>,
    line: Vec<u8>,
    printed: u64,
    failed: u64,
    progress: Progress,
}

impl Printer {
    fn new(batch: BatchId, records: bool, waits: bool) -> Self {
        let (early, line, progress) = (BTreeMap::new(), Vec::new(), Progress::counting("results"));
        Self { batch, records, waits, next: 0, early, line, printed: 0, failed: 0, progress }
    }

    fn take(&mut self, index: u64, answer: Answer) -> Result<(), Exit> {
        if !self.waits {
            return self.print(index, &answer);
        }
        self.early.insert(index, answer);
        self.progress.set(self.printed + self.early.len() as u64);
        while let Some(answer) = self.early.remove(&self.next) {
            self.print(self.next, &answer)?;
            self.next += 1;
        }
        if self.early.is_empty() { self.flush() } else { Ok(()) }
    }

    /// Prints what is left, whatever is missing before it.
    fn rest(&mut self) -> Result<(), Exit> {
        for (index, answer) in std::mem::take(&mut self.early) {
            self.print(index, &answer)?;
        }
        self.flush()
    }

    fn print(&mut self, index: u64, answer: &Answer) -> Result<(), Exit> {
        if self.records {
            write_record(&mut self.line, self.batch, index, answer);
        } else {
            write_bare(&mut self.line, answer);
        }
        self.printed += 1;
        self.failed += u64::from(matches!(answer, Answer::Error(_)));
        if self.line.len() > 64 * 1024 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Exit> {
        if !self.line.is_empty() {
            let mut out = std::io::stdout().lock();
            self.progress.aside(|| out.write_all(&self.line).and_then(|()| out.flush()))?;
            self.line.clear();
        }
        Ok(())
    }
}
