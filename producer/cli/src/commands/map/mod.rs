//! `gristmill map`.

pub(super) mod failed;
pub(super) mod files;
mod printer;
pub(super) mod summary;

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use gristmill::shared::duration::{FOREVER, from_now};
use gristmill::{BatchId, Client, MapHandle, OutcomeKind, SubmitOptions, Summary, TaskError, Unordered};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use self::failed::Unread;
use self::printer::Printer;
use super::submit::options;
use crate::args::{Global, Map, SummaryForm};
use crate::counted::counted;
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
    let mut make = Box::new(Arguments::of(check, args.strings).shown(args.with_args));
    if args.check {
        files::check(&args, &mut *make)?;
    }
    let printer = Printer::new(files::output(&args)?, files::failed(&args)?, &args);
    let (keep_sources, keep_args) = (args.failed.is_some(), args.with_args);
    let reading = Reading { keep_going: args.keep_going, keep_sources, keep_args };
    let Input { findings, portions, rest } = input::start(input, make, reading);
    let unread = Unread::new(rest, files::is_there(&args));
    if printer.progress().is_seen()
        && let Some(file) = files::countable(&args)
    {
        findings.count_ahead(file, files::format(&args));
    }
    let lines = stream::unfold(portions, async |mut portions| Some((portions.recv().await?, portions)));
    let lines = lines.flat_map(stream::iter);
    let handle = client.map_raw(&args.kernel, lines, &options).await?;
    let batch = handle.id();
    let outcomes =
        if args.unordered { Outcomes::Unordered(handle.unordered()) } else { Outcomes::Ordered { handle, next: 0 } };
    let deadline = Instant::from(from_now(args.timeout.unwrap_or(FOREVER)));
    let (summary, max_failures) = (args.summary, args.max_failures.unwrap_or(u64::MAX));
    let mut run = Run { client, batch, outcomes, findings, printer, deadline, summary, max_failures, from: 0 };
    let ended = run.run(signals).await;
    let written = run.write_failed(unread).await;
    ended.and(written)
}

/// Results in either order.
enum Outcomes {
    Ordered {
        handle: MapHandle<Vec<u8>>,
        next: u64,
    },
    Unordered(Unordered<Vec<u8>>),
    /// Parted from.
    Left,
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
            Self::Left => None,
        }
    }

    fn summary(&self) -> Option<Summary> {
        match self {
            Self::Ordered { handle, .. } => Some(handle.summary()),
            Self::Unordered(handle) => Some(handle.summary()),
            Self::Left => None,
        }
    }

    async fn cancel(&self) -> Result<(), gristmill::ClientError> {
        match self {
            Self::Ordered { handle, .. } => handle.cancel().await,
            Self::Unordered(handle) => handle.cancel().await,
            Self::Left => Ok(()),
        }
    }

    async fn leave(&mut self) -> Result<(), gristmill::ClientError> {
        match std::mem::replace(self, Self::Left) {
            Self::Ordered { handle, .. } => handle.leave().await.map(drop),
            Self::Unordered(handle) => handle.leave().await.map(drop),
            Self::Left => Ok(()),
        }
    }
}

struct Run {
    client: Client,
    batch: BatchId,
    outcomes: Outcomes,
    findings: Arc<Findings>,
    printer: Printer,
    deadline: Instant,
    summary: Option<SummaryForm>,
    max_failures: u64,
    /// Tasks before this one go on, although nobody waits for them.
    from: u64,
}

/// Why the printing of results ended.
enum End {
    All,
    BadLine,
    Timeout,
    Failures,
    Signal(u8),
}

impl Run {
    async fn run(&mut self, signals: &mut Signals) -> Result<(), Exit> {
        match self.print_until(self.deadline, signals).await? {
            End::All => self.all().await,
            End::BadLine => self.bad_line(signals).await,
            End::Failures => self.too_many_failures(signals).await,
            End::Timeout => self.timeout().await,
            End::Signal(code) => self.interrupted(code).await,
        }
    }

    /// Shows how far it is, and says at the end what came of it.
    fn show_progress(&self) {
        let progress = self.printer.progress();
        if progress.is_seen() {
            let ended = self.outcomes.summary().map_or(0, |summary| summary.ended());
            progress.set(self.printer.printed().max(ended));
            if let Some(rows) = self.findings.rows() {
                progress.set_total(rows);
            }
        }
    }

    fn end_with_summary(&self) {
        self.printer.progress().end();
        if let (Some(form), Some(summary)) = (self.summary, self.outcomes.summary()) {
            summary::say(&summary, form);
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
                        _ = ticks.tick(), if self.printer.progress().is_seen() || self.max_failures < u64::MAX => {
                            self.show_progress();
                            if self.has_failed_too_often() {
                                return Ok(End::Failures);
                            }
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
                Some((index, result)) => self.printer.take(&self.findings, self.batch, index, result)?,
                None => return Ok(End::All),
            }
            if self.printer.failed() >= self.max_failures {
                return Ok(End::Failures);
            }
        }
    }

    async fn all(&mut self) -> Result<(), Exit> {
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
        match self.client.over_budget(self.batch).await? {
            Some(error) => Err(error.into()),
            None => Err(Exit::new(Exit::TASK, failed)),
        }
    }

    /// Failures count as they arrive, although it may not be their turn to be printed.
    fn has_failed_too_often(&self) -> bool {
        let failed = |summary: Summary| summary.ended() - summary.count(OutcomeKind::Succeeded);
        self.max_failures < u64::MAX
            && self.outcomes.summary().is_some_and(|summary| failed(summary) >= self.max_failures)
    }

    /// Reading has stopped: what comes soon is printed, what has not started is cancelled.
    async fn bad_line(&mut self, signals: &mut Signals) -> Result<(), Exit> {
        let grace = (Instant::now() + AFTER_BAD_LINE).min(self.deadline);
        match self.print_until(grace, signals).await? {
            End::Signal(code) => return self.interrupted(code).await,
            End::Failures => return self.too_many_failures(signals).await,
            End::Timeout => {
                if let Some(code) = self.cancel_and_print(signals).await? {
                    return self.interrupted(code).await;
                }
            }
            End::All | End::BadLine => {}
        }
        self.all().await
    }

    async fn too_many_failures(&mut self, signals: &mut Signals) -> Result<(), Exit> {
        let most = counted(self.max_failures, "failure");
        self.max_failures = u64::MAX;
        if let Some(code) = self.cancel_and_print(signals).await? {
            return self.interrupted(code).await;
        }
        self.printer.finish(&self.findings)?;
        self.end_with_summary();
        let failed = self.printer.summary().unwrap_or_default();
        Err(Exit::new(Exit::TASK, format!("ended after {most}, as --max-failures says: {failed}")))
    }

    /// Cancels what has not started, and prints what comes of it. Returns the code of a signal.
    async fn cancel_and_print(&mut self, signals: &mut Signals) -> Result<Option<u8>, Exit> {
        self.cancel().await?;
        let patience = Instant::now() + AFTER_CANCEL;
        let batch = self.batch;
        let ended = self.print_until(patience, signals).await?;
        self.printer.progress().end();
        match ended {
            End::Signal(code) => return Ok(Some(code)),
            End::Timeout => say!(
                "gristmill: cancelled what had not started of the batch {batch}; what runs goes on, see `gristmill \
                 results {batch}`"
            ),
            End::All | End::BadLine | End::Failures => {
                say!("gristmill: cancelled what had not started of the batch {batch}");
            }
        }
        Ok(None)
    }

    /// Into the file for another run.
    async fn write_failed(&mut self, unread: Unread) -> Result<(), Exit> {
        match self.printer.failed_file() {
            Some(file) => file.add_rest(&self.findings, unread, self.from).await,
            None => Ok(()),
        }
    }

    async fn timeout(&mut self) -> Result<(), Exit> {
        self.printer.end()?;
        self.end_with_summary();
        let (batch, done) = (self.batch, self.printer.printed());
        // Redis may be what does not answer in time.
        let left = timeout(AFTER_CANCEL, self.outcomes.leave()).await;
        if let Ok(Err(error)) = left {
            return Err(error.into());
        }
        self.from = self.client.batch_record(batch).await?.map_or(0, |record| record.tasks);
        let message = format!(
            "time is over after {done} results; what was submitted goes on, see `gristmill results {batch}`; further \
             lines were not submitted"
        );
        Err(Exit::new(Exit::TIMEOUT, message))
    }

    async fn interrupted(&mut self, code: u8) -> Result<(), Exit> {
        self.printer.end()?;
        self.end_with_summary();
        let (batch, done) = (self.batch, self.printer.printed());
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
