//! `gristmill map`.

mod answers;
pub(super) mod begin;
mod detach;
pub(super) mod failed;
pub(super) mod files;
mod printer;
pub(super) mod summary;

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt, stream};
use gristmill::shared::duration::{FOREVER, from_now};
use gristmill::{BatchId, Client, OutcomeKind, SubmitOptions, Summary, TaskError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use self::answers::Answers;
use self::begin::{Beginner, Begun, Ends};
use self::failed::Unread;
use self::printer::Printer;
use super::submit::options;
use crate::args::{Global, Map, SummaryForm};
use crate::counted::counted;
use crate::exit::Exit;
use crate::input::{self, Arguments, Findings, Format, Input, Reading};
use crate::resume::{Answered, Keeper};
use crate::running::Running;
use crate::signals::Signals;
use crate::{kernel_check, say, session};

/// After a bad line, tasks of the lines before it may still end by themselves for so long; those that have
/// not started then are cancelled.
const AFTER_BAD_LINE: Duration = Duration::from_secs(2);
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// What an interrupted map leaves to do.
const RESUME_HINT: &str = "the same command with --resume goes on";
/// How long cancelling, and the outcomes of what was cancelled, are waited for.
const AFTER_CANCEL: Duration = Duration::from_secs(5);

pub async fn run(global: &Global, args: Map, signals: &mut Signals) -> Result<(), Exit> {
    let when_full = args.when_full.map(Into::into);
    let options =
        SubmitOptions { chunk: args.chunk, when_full, result_bytes: args.result_bytes, ..options(&args.common).await? };
    let input = files::input(&args)?;
    let client = session::connect(global).await?;
    let check = kernel_check::check(&client, &args.kernel, args.common.checks()).await?;
    let mut make = Box::new(Arguments::of(check, args.strings).shown(args.with_args));
    if args.check {
        files::check(&args, &mut *make)?;
    }
    let (keep_sources, keep_args) = (args.failed.is_some(), args.with_args);
    let grid_cells = args.failed.as_deref().and_then(Format::of).and_then(Format::delimiter);
    let reading = Reading { keep_going: args.keep_going, keep_sources, keep_args, grid_cells };
    if args.detach {
        let Input { findings, portions, .. } = input::start(input, make, reading);
        let handle = client.map_raw(&args.kernel, arguments(portions), &options).await?;
        return detach::run(&client, handle, findings, signals).await;
    }
    let deadline = Instant::from(from_now(args.timeout.unwrap_or(FOREVER)));
    let (mut failed, mut ends) = (files::failed(&args)?, Ends { signals: &mut *signals, deadline });
    let beginner = Beginner { args: &args, client: &client, make, reading };
    let Some(begun) = beginner.begin(input, &mut failed, &mut ends).await? else { return Ok(()) };
    let Begun { out, written, input: Input { findings, portions, rest }, ended, keeper } = begun;
    let mut printer = Printer::new(out, failed, &args);
    printer.go_on(written);
    let unread = Unread::new(rest, files::is_there(&args));
    if printer.progress().is_seen()
        && let Some(file) = files::countable(&args)
    {
        findings.count_ahead(file, files::format(&args));
    }
    // Nothing is enqueued before it is written down that it will be.
    let (go, gate) = oneshot::channel::<()>();
    let gate = stream::once(async {
        if gate.await.is_err() {
            std::future::pending().await
        }
    });
    let lines = gate.filter_map(|()| ready(None)).chain(arguments(portions));
    let handle = client.map_raw(&args.kernel, lines, &options.acknowledge(keeper.is_some())).await?;
    let batch = handle.id();
    let keeper = keeper.map(|keeper| keeper.submit(batch, args.resume)).transpose()?.flatten();
    // The map waits for it for as long as its handle lives.
    let _ = go.send(());
    let answers = Answers::new(handle, args.unordered, ended, findings.clone());
    let running = Running::new(&client, batch);
    let (summary, max_failures) = (args.summary, args.max_failures.unwrap_or(u64::MAX));
    let mut run = Run {
        client,
        batch,
        answers,
        findings,
        keeper,
        deadline,
        summary,
        max_failures,
        failed_earlier: printer.failed(),
        printer,
        running,
        from: 0,
        cut: None,
    };
    let ended = match run.run(signals).await {
        Err(exit) if run.printer.is_broken() => Err(run.unwritable(exit).await),
        ended => ended,
    };
    let ended = ended.map_err(|exit| run.with_hint(exit));
    let written = run.write_failed(unread).await;
    ended.and(written)
}

/// What the reader hands on, one after the other.
fn arguments(portions: mpsc::Receiver<Vec<Vec<u8>>>) -> impl Stream<Item = Vec<u8>> + Send + 'static {
    stream::unfold(portions, async |mut portions| Some((portions.recv().await?, portions))).flat_map(stream::iter)
}

struct Run {
    client: Client,
    batch: BatchId,
    answers: Answers,
    findings: Arc<Findings>,
    printer: Printer,
    running: Running,
    /// Of an output that can be gone on with.
    keeper: Option<Keeper>,
    deadline: Instant,
    summary: Option<SummaryForm>,
    max_failures: u64,
    /// Failures that are printed now, and happened in an earlier run.
    failed_earlier: u64,
    /// Tasks before this one go on, although nobody waits for them.
    from: u64,
    /// The batch is cancelled as a whole, and the output can be gone on with: what was cancelled is not printed, nor
    /// what comes after it in order. None: it is not known.
    cut: Option<bool>,
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
    fn show_progress(&mut self) {
        let progress = self.printer.progress();
        if progress.is_seen() {
            let ended = self.answers.summary().map_or(0, |summary| summary.ended());
            self.running.show(self.printer.printed().max(ended), progress);
            if let Some(rows) = self.findings.rows() {
                progress.set_total(rows);
            }
        }
    }

    fn end_with_summary(&self) {
        self.end_with(self.answers.summary());
    }

    fn end_with(&self, summary: Option<Summary>) {
        self.printer.progress().end();
        if let (Some(form), Some(summary)) = (self.summary, summary) {
            summary::say(&summary, form);
        }
    }

    /// Prints results as they come.
    async fn print_until(&mut self, deadline: Instant, signals: &mut Signals) -> Result<End, Exit> {
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let answered = match self.answers.next().now_or_never() {
                Some(answered) => answered,
                None => {
                    // Whoever reads shall not wait for results that are here already.
                    self.flush()?;
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
                        answered = self.answers.next() => answered,
                    }
                }
            };
            match answered {
                Some(Err(error)) => {
                    self.flush()?;
                    return Err(error.into());
                }
                Some(Ok(answered)) => self.print(answered).await?,
                None => return Ok(End::All),
            }
            if self.printer.failed() - self.failed_earlier >= self.max_failures {
                return Ok(End::Failures);
            }
        }
    }

    async fn print(&mut self, answered: Answered) -> Result<(), Exit> {
        if self.is_cut_off(&answered).await? {
            self.answers.hold_back();
            return Ok(());
        }
        if matches!(answered.result, Err(TaskError::NotKept(_)))
            && self.printer.is_bare()
            && let Some(keeper) = self.keeper.take()
        {
            say!("gristmill: warning: an output that is not kept has no line: --resume can go on only with --records");
            keeper.forget();
        }
        let (is_earlier, failed) = (answered.task.batch != self.batch, self.printer.failed());
        self.printer.take(&self.findings, answered)?;
        if is_earlier {
            self.failed_earlier += self.printer.failed() - failed;
        }
        if self.printer.is_flushed() {
            self.answers.acknowledge();
        }
        Ok(())
    }

    /// What is written is safe, and need not stay in Redis.
    fn flush(&mut self) -> Result<(), Exit> {
        self.printer.flush()?;
        if self.printer.is_flushed() {
            self.answers.acknowledge();
        }
        Ok(())
    }

    /// A task that was cancelled with its batch has no line, if the map can go on: it may run yet. In order nothing
    /// after it has one.
    async fn is_cut_off(&mut self, answered: &Answered) -> Result<bool, Exit> {
        let is_cancelled =
            matches!(&answered.result, Err(TaskError::Ended(failure)) if failure.kind == OutcomeKind::Cancelled);
        if self.keeper.is_none() || !is_cancelled {
            return Ok(self.cut == Some(true) && self.answers.is_ordered());
        }
        if self.cut.is_none() {
            let record = self.client.batch_record(self.batch).await?;
            self.cut = Some(record.is_none_or(|record| record.cancelled_at_ms.is_some()));
        }
        Ok(self.cut == Some(true))
    }

    /// Prints what is left, and forgets how to go on if nothing is missing.
    async fn finish(&mut self, is_complete: bool) -> Result<(), Exit> {
        let is_cut = self.cut == Some(true);
        if is_cut && self.answers.is_ordered() {
            self.printer.end(true)?
        } else {
            self.printer.finish(&self.findings)?
        }
        if self.printer.is_flushed() {
            self.answers.acknowledge();
        }
        if is_complete
            && !is_cut
            && let Some(keeper) = self.keeper.take()
        {
            self.answers.close().await;
            keeper.complete();
        }
        Ok(())
    }

    /// Nobody gets what would come: the rest is cancelled.
    async fn unwritable(&mut self, exit: Exit) -> Exit {
        let batch = self.batch;
        match self.cancel().await {
            Ok(()) => exit.and_say(&format!("cancelled what had not started of the batch {batch}")),
            Err(_) => exit.and_say(&format!("the batch {batch} could not be cancelled")),
        }
    }

    /// What an error leaves to do.
    fn with_hint(&self, exit: Exit) -> Exit {
        if self.keeper.is_some() { exit.and_say(RESUME_HINT) } else { exit }
    }

    async fn all(&mut self) -> Result<(), Exit> {
        let is_complete = self.findings.stopped_at().is_none() && self.findings.failed().is_none();
        let summary = self.answers.summary();
        self.finish(is_complete).await?;
        self.end_with(summary);
        if let Some(bad) = self.findings.stopped_at() {
            return Err(Exit::usage(format!("{}: {}; nothing after it was submitted", bad.place, bad.message)));
        }
        if let Some(error) = self.findings.failed() {
            return Err(Exit::usage(format!("cannot read the input: {error}; what came after is missing")));
        }
        if self.cut == Some(true) {
            let error = self.client.over_budget(self.batch).await?.map(Exit::from);
            let message = format!("the batch {} was cancelled", self.batch);
            return Err(error.unwrap_or_else(|| Exit::new(Exit::TASK, message)));
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
            && self.answers.summary().is_some_and(|summary| failed(summary) >= self.max_failures)
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
        self.finish(false).await?;
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
        self.printer.end(self.keeper.is_some())?;
        self.end_with_summary();
        let (batch, done) = (self.batch, self.printer.printed());
        // Redis may be what does not answer in time.
        let left = timeout(AFTER_CANCEL, self.answers.leave()).await;
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
        self.printer.end(self.keeper.is_some())?;
        self.end_with_summary();
        let (batch, done) = (self.batch, self.printer.printed());
        let hint = if self.keeper.is_some() { format!("; {RESUME_HINT}") } else { String::new() };
        match self.cancel().await {
            Ok(()) => {
                say!(
                    "gristmill: interrupted after {done} results; what runs goes on, cancelled what had not started of \
                     the batch {batch}{hint}"
                );
            }
            Err(_) => {
                say!("gristmill: interrupted after {done} results; the batch {batch} could not be cancelled{hint}")
            }
        }
        Err(Exit::silent(code))
    }

    async fn cancel(&self) -> Result<(), Exit> {
        match timeout(AFTER_CANCEL, self.answers.cancel()).await {
            Ok(cancelled) => Ok(cancelled?),
            Err(_) => Err(Exit::new(Exit::REDIS, "Redis did not answer; the batch is not cancelled")),
        }
    }
}
