//! `gristmill map`.

mod files;
mod printer;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use gristmill::shared::duration::{FOREVER, from_now};
use gristmill::{Client, MapHandle, SubmitOptions, Summary, TaskError, Unordered};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use self::printer::Printer;
use super::submit::options;
use crate::args::{Global, Map, SummaryForm};
use crate::exit::Exit;
use crate::input::{self, Arguments, Findings, Input, Reading};
use crate::signals::Signals;
use crate::{kernel_check, say, session};

/// After a bad line, tasks of the lines before it may still end by themselves for so long; those that have
/// not started then are cancelled.
const AFTER_BAD_LINE: Duration = Duration::from_secs(2);
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How long cancelling, and the outcomes of what was cancelled, are waited for.
const AFTER_CANCEL: Duration = Duration::from_secs(5);

pub async fn run(global: &Global, args: Map, signals: &mut Signals) -> Result<(), Exit> {
    let when_full = args.when_full.map(Into::into);
    let options =
        SubmitOptions { chunk: args.chunk, when_full, result_bytes: args.result_bytes, ..options(&args.common)? };
    let input = files::input(&args)?;
    let client = session::connect(global).await?;
    let check = kernel_check::check(&client, &args.kernel, args.common.checks()).await?;
    let mut make = Box::new(Arguments::of(check, args.strings));
    if args.check {
        files::check(&args, &mut *make)?;
    }
    let printer = Printer::new(files::output(&args)?, &args);
    let reading = Reading { keep_going: args.keep_going, ..Reading::default() };
    let Input { findings, portions, .. } = input::start(input, make, reading);
    if printer.progress().is_seen()
        && let Some(file) = files::countable(&args)
    {
        findings.count_ahead(file, files::format(&args));
    }
    let lines = stream::unfold(portions, async |mut portions| Some((portions.recv().await?, portions)));
    let lines = lines.flat_map(stream::iter);
    let handle = client.map_raw(&args.kernel, lines, &options).await?;
    let outcomes =
        if args.unordered { Outcomes::Unordered(handle.unordered()) } else { Outcomes::Ordered { handle, next: 0 } };
    let deadline = Instant::from(from_now(args.timeout.unwrap_or(FOREVER)));
    Run { client, outcomes, findings, printer, deadline, summary: args.summary }.run(signals).await
}

/// Results in either order.
enum Outcomes {
    Ordered { handle: MapHandle<Vec<u8>>, next: u64 },
    Unordered(Unordered<Vec<u8>>),
}

type Outcome = (u64, Result<Vec<u8>, TaskError>);

impl Outcomes {
    async fn next(&mut self) -> Option<Outcome> {
        match self {
            Self::Ordered { handle, next } => {
                let outcome = handle.next().await?;
                *next += 1;
                Some((*next - 1, outcome))
            }
            Self::Unordered(handle) => handle.next().await,
        }
    }

    fn batch(&self) -> gristmill::BatchId {
        match self {
            Self::Ordered { handle, .. } => handle.id(),
            Self::Unordered(handle) => handle.id(),
        }
    }

    fn summary(&self) -> Summary {
        match self {
            Self::Ordered { handle, .. } => handle.summary(),
            Self::Unordered(handle) => handle.summary(),
        }
    }

    async fn cancel(&self) -> Result<(), gristmill::ClientError> {
        match self {
            Self::Ordered { handle, .. } => handle.cancel().await,
            Self::Unordered(handle) => handle.cancel().await,
        }
    }

    async fn leave(self) -> Result<(), gristmill::ClientError> {
        match self {
            Self::Ordered { handle, .. } => handle.leave().await.map(drop),
            Self::Unordered(handle) => handle.leave().await.map(drop),
        }
    }
}

struct Run {
    client: Client,
    outcomes: Outcomes,
    findings: Arc<Findings>,
    printer: Printer,
    deadline: Instant,
    summary: Option<SummaryForm>,
}

/// Why the printing of results ended.
enum End {
    All,
    BadLine,
    Timeout,
    Signal(u8),
}

impl Run {
    async fn run(mut self, signals: &mut Signals) -> Result<(), Exit> {
        match self.print_until(self.deadline, signals).await? {
            End::All => self.all().await,
            End::BadLine => self.bad_line(signals).await,
            End::Timeout => self.timeout().await,
            End::Signal(code) => self.interrupted(code).await,
        }
    }

    /// Shows how far it is, and says at the end what came of it.
    fn show_progress(&self) {
        let progress = self.printer.progress();
        if progress.is_seen() {
            progress.set(self.printer.printed().max(self.outcomes.summary().ended()));
            if let Some(rows) = self.findings.rows() {
                progress.set_total(rows);
            }
        }
    }

    fn end_with_summary(&self) {
        self.printer.progress().end();
        if let Some(form) = self.summary {
            summary::say(&self.outcomes.summary(), form);
        }
    }

    /// Prints results as they come.
    async fn print_until(&mut self, deadline: Instant, signals: &mut Signals) -> Result<End, Exit> {
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let outcome = match self.outcomes.next().now_or_never() {
                Some(outcome) => outcome,
                None => {
                    // Whoever reads shall not wait for results that are here already.
                    self.printer.flush()?;
                    tokio::select! {
                        biased;
                        code = signals.next() => return Ok(End::Signal(code)),
                        () = sleep_until(deadline) => return Ok(End::Timeout),
                        () = self.findings.stopped.notified() => return Ok(End::BadLine),
                        _ = ticks.tick(), if self.printer.progress().is_seen() => {
                            self.show_progress();
                            continue;
                        }
                        outcome = self.outcomes.next() => outcome,
                    }
                }
            };
            match outcome {
                Some((_, Err(TaskError::Client(error)))) => {
                    self.printer.flush()?;
                    return Err(error.into());
                }
                Some((index, result)) => self.printer.take(&self.findings, self.outcomes.batch(), index, result)?,
                None => return Ok(End::All),
            }
        }
    }

    async fn all(mut self) -> Result<(), Exit> {
        self.printer.finish(&self.findings)?;
        self.end_with_summary();
        if let Some(bad) = self.findings.stopped_at() {
            return Err(Exit::usage(format!("{}: {}; nothing after it was submitted", bad.place, bad.message)));
        }
        if let Some(error) = self.findings.failed() {
            return Err(Exit::usage(format!("cannot read the input: {error}; what came after is missing")));
        }
        let Some(failed) = self.printer.summary() else { return Ok(()) };
        // That is not the fault of the tasks, and there is something to do about it.
        match self.client.over_budget(self.outcomes.batch()).await? {
            Some(error) => Err(error.into()),
            None => Err(Exit::new(Exit::TASK, failed)),
        }
    }

    /// Reading has stopped: what comes soon is printed, what has not started is cancelled.
    async fn bad_line(mut self, signals: &mut Signals) -> Result<(), Exit> {
        let grace = (Instant::now() + AFTER_BAD_LINE).min(self.deadline);
        match self.print_until(grace, signals).await? {
            End::Signal(code) => return self.interrupted(code).await,
            End::Timeout => {
                self.cancel().await?;
                let patience = Instant::now() + AFTER_CANCEL;
                let batch = self.outcomes.batch();
                let ended = self.print_until(patience, signals).await?;
                self.printer.progress().end();
                match ended {
                    End::Signal(code) => return self.interrupted(code).await,
                    End::Timeout => say!(
                        "gristmill: cancelled what had not started of the batch {batch}; what runs goes on, see \
                         `gristmill results {batch}`"
                    ),
                    End::All | End::BadLine => {
                        say!("gristmill: cancelled what had not started of the batch {batch}");
                    }
                }
            }
            End::All | End::BadLine => {}
        }
        self.all().await
    }

    async fn timeout(mut self) -> Result<(), Exit> {
        self.printer.flush()?;
        self.end_with_summary();
        let (batch, done) = (self.outcomes.batch(), self.printer.printed());
        // Redis may be what does not answer in time.
        let left = timeout(AFTER_CANCEL, self.outcomes.leave()).await;
        if let Ok(Err(error)) = left {
            return Err(error.into());
        }
        let message = format!(
            "time is over after {done} results; what was submitted goes on, see `gristmill results {batch}`; further \
             lines were not submitted"
        );
        Err(Exit::new(Exit::TIMEOUT, message))
    }

    async fn interrupted(mut self, code: u8) -> Result<(), Exit> {
        self.printer.flush()?;
        self.end_with_summary();
        let (batch, done) = (self.outcomes.batch(), self.printer.printed());
        match self.cancel().await {
            Ok(()) => {
                say!(
                    "gristmill: interrupted after {done} results; what runs goes on, cancelled what had not started of \
                     the batch {batch}"
                );
            }
            Err(_) => say!("gristmill: interrupted after {done} results; the batch {batch} could not be cancelled"),
        }
        Err(Exit::silent(code))
    }

    async fn cancel(&self) -> Result<(), Exit> {
        match timeout(AFTER_CANCEL, self.outcomes.cancel()).await {
            Ok(cancelled) => Ok(cancelled?),
            Err(_) => Err(Exit::new(Exit::REDIS, "Redis did not answer; the batch is not cancelled")),
        }
    }
}
