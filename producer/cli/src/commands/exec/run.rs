//! Tells what comes of the jobs, until all have ended or somebody or something ends it before.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use gristmill::{Client, OutcomeKind, TaskError};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::super::map::failed::{FailedFile, Unread};
use super::super::map::summary;
use super::held::Begun;
use super::jobs::Jobs;
use super::outcomes::{Outcome, Outcomes};
use super::output::Printer;
use crate::args::Exec;
use crate::counted::counted;
use crate::exit::Exit;
use crate::input::{BadRow, Findings};
use crate::say;
use crate::signals::Signals;

const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// What interrupted jobs with a directory of results leave to do.
const RESUME_HINT: &str = "the same command with --resume goes on";
/// How long cancelling, and the outcomes of what was cancelled, are waited for.
const AFTER_CANCEL: Duration = Duration::from_secs(5);

/// What one command has.
pub(super) struct Run {
    pub(super) client: Client,
    pub(super) args: Exec,
    /// With a directory of results.
    pub(super) begun: Option<Begun>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) outcomes: Outcomes,
    pub(super) findings: Arc<Findings>,
    pub(super) unread: Option<Unread>,
    pub(super) printer: Printer,
    pub(super) failed: Option<FailedFile>,
    pub(super) deadline: Instant,
    /// There are no rows.
    pub(super) alone: bool,
    /// Nothing more is started.
    pub(super) cancelled: bool,
    /// Jobs that were not started because of that.
    pub(super) not_run: u64,
    /// All jobs that were submitted have ended and are told.
    pub(super) answered: bool,
    /// Jobs that failed in an earlier run, and are told now.
    pub(super) failed_earlier: u64,
}

/// Why the printing of results ended.
enum End {
    All,
    BadRow,
    Failures,
    Timeout,
    Signal(u8),
}

impl Run {
    /// Returns how many jobs failed.
    pub(super) async fn run(mut self, signals: &mut Signals) -> Result<u64, Exit> {
        match self.until_the_end(signals).await {
            Ok(End::Timeout) => Err(self.leave().await?),
            Ok(end) => {
                self.write_rest(matches!(end, End::All)).await?;
                self.close(end).await
            }
            Err(error) => {
                self.printer.progress().end();
                // Nobody would hear of what is left.
                let cancelled = self.cancelled || error.code() == Exit::REDIS || self.cancel().await.is_err();
                if !cancelled && error.code() != Exit::CLOSED {
                    say!("gristmill: cancelled what had not started of {}", self.outcomes.batch());
                }
                if let Err(second) = self.write_rest(false).await {
                    second.say();
                }
                Err(if self.begun.is_some() { error.and_say(RESUME_HINT) } else { error })
            }
        }
    }

    async fn until_the_end(&mut self, signals: &mut Signals) -> Result<End, Exit> {
        let mut end = self.print_until(self.deadline, signals).await?;
        let batch = self.outcomes.batch();
        if matches!(end, End::BadRow | End::Failures) {
            self.cancel().await?;
            self.cancelled = true;
            // What runs may take long, and is not ended: only what ends soon is told.
            match self.print_until(Instant::now() + AFTER_CANCEL, signals).await? {
                End::Signal(code) => end = End::Signal(code),
                End::Timeout => say!("gristmill: what runs goes on, see gristmill results {batch}"),
                End::All | End::BadRow | End::Failures => {}
            }
        }
        if let (End::Signal(_), false) = (&end, self.cancelled) {
            match self.cancel().await {
                Ok(()) => say!("gristmill: interrupted; what runs goes on, cancelled what had not started of {batch}"),
                Err(_) => say!("gristmill: interrupted; the batch {batch} could not be cancelled"),
            }
        }
        Ok(end)
    }

    /// Prints results as they come.
    async fn print_until(&mut self, deadline: Instant, signals: &mut Signals) -> Result<End, Exit> {
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if !self.cancelled
                && self.args.max_failures.is_some_and(|most| self.printer.failed() - self.failed_earlier >= most)
            {
                return Ok(End::Failures);
            }
            let outcome = match self.outcomes.next().now_or_never() {
                Some(outcome) => outcome,
                None => tokio::select! {
                    biased;
                    code = signals.next() => return Ok(End::Signal(code)),
                    () = sleep_until(deadline) => return Ok(End::Timeout),
                    () = self.findings.stopped.notified(), if !self.cancelled => return Ok(End::BadRow),
                    _ = ticks.tick(), if self.printer.progress().is_seen() => {
                        self.show_progress();
                        continue;
                    }
                    outcome = self.outcomes.next() => outcome,
                },
            };
            match outcome {
                Some(Ok(outcome)) => self.take(outcome)?,
                Some(Err(error)) => return Err(error.into()),
                None => {
                    self.answered = true;
                    return Ok(End::All);
                }
            }
        }
    }

    fn take(&mut self, Outcome { task, job, result }: Outcome) -> Result<(), Exit> {
        let Some(job) = job else {
            return Err(Exit::new(Exit::BUG, format!("the task {task} is none of this command")));
        };
        // No row is passed over, so that rows and jobs have the same numbers.
        let source = self.findings.take_kept(job.number - 1).and_then(|kept| kept.source);
        let not_run =
            self.cancelled && matches!(&result, Err(TaskError::Ended(end)) if end.kind == OutcomeKind::Cancelled);
        self.not_run += u64::from(not_run);
        let taken = if not_run { Ok(false) } else { self.printer.take(task, &job, result) };
        // A job whose output is lost is to be run again, too.
        if let (false, Some(file)) = (matches!(taken, Ok(true)), &mut self.failed) {
            file.add(&self.findings, &source.unwrap_or_default())?;
        }
        let well = taken?;
        self.outcomes.acknowledge();
        self.failed_earlier += u64::from(!well && task.batch != self.outcomes.batch());
        Ok(())
    }

    fn show_progress(&self) {
        let progress = self.printer.progress();
        progress.set(self.printer.ended().max(self.outcomes.summary().ended()));
        if let Some(rows) = self.findings.rows() {
            progress.set_total(rows - self.jobs.skipped().min(rows));
        }
    }

    async fn cancel(&self) -> Result<(), Exit> {
        match timeout(AFTER_CANCEL, self.outcomes.cancel()).await {
            Ok(cancelled) => Ok(cancelled?),
            Err(_) => Err(Exit::new(Exit::REDIS, "Redis did not answer; the batch is not cancelled")),
        }
    }

    /// What was not answered is to be run again, too.
    async fn write_rest(&mut self, all: bool) -> Result<(), Exit> {
        let Some(file) = &mut self.failed else { return Ok(()) };
        if let (Some(unread), false) = (self.unread.take(), all) {
            file.add_rest(&self.findings, unread, 0).await?;
        }
        file.flush()
    }

    /// What came of it all, in words and as the number of jobs that failed.
    async fn close(mut self, end: End) -> Result<u64, Exit> {
        let failed = self.say_what_came();
        if let Some(begun) = self.begun.take() {
            if self.answered && self.outcomes.has_told_all() {
                self.outcomes.close().await;
                begun.complete();
            } else {
                say!("gristmill: {RESUME_HINT}");
            }
        }
        if let End::Signal(code) = end {
            return Err(Exit::silent(code));
        }
        if let Some(BadRow { place, message, .. }) = self.findings.stopped_at() {
            return Err(Exit::usage(format!("{place}: {message}; nothing after it was submitted")));
        }
        if let Some(error) = self.findings.failed() {
            return Err(Exit::usage(format!("cannot read the rows: {error}")));
        }
        Ok(failed)
    }

    /// In words; how many failed.
    fn say_what_came(&self) -> u64 {
        self.printer.progress().end();
        let (ended, failed) = (self.printer.ended(), self.printer.failed());
        if let Some(form) = self.args.summary {
            summary::say(&self.outcomes.summary(), form);
        }
        if self.jobs.skipped() > 0 {
            say!("gristmill: {} had been done before", counted(self.jobs.skipped(), "job"));
        }
        if self.not_run > 0 {
            say!("gristmill: {} cancelled before the start", counted(self.not_run, "job"));
        }
        if failed > 0 && !self.alone {
            say!("gristmill: {failed} of {} did not succeed", counted(ended, "job"));
        }
        failed
    }

    /// Time is over: the jobs go on without us. Only those that were not submitted are for another run.
    async fn leave(self) -> Result<Exit, Exit> {
        self.say_what_came();
        let Self { client, jobs, outcomes, findings, unread, printer, mut failed, begun, .. } = self;
        let batch = outcomes.batch();
        // Redis may be what does not answer in time.
        let left = timeout(AFTER_CANCEL, outcomes.leave()).await;
        if let Some(file) = &mut failed {
            let record = timeout(AFTER_CANCEL, client.batch_record(batch)).await;
            // What nobody knows of is better run twice than never.
            let submitted = record.ok().and_then(Result::ok).flatten().map_or(0, |record| record.tasks);
            for job in jobs.take_before(submitted) {
                findings.take_kept(job.number - 1);
            }
            if let Some(unread) = unread {
                file.add_rest(&findings, unread, 0).await?;
            }
            file.flush()?;
        }
        if let Ok(Err(error)) = left {
            return Err(error.into());
        }
        let ended = counted(printer.ended(), "job");
        let message =
            format!("time is over after {ended}; those that were submitted go on, see gristmill results {batch}");
        let exit = Exit::new(Exit::TIMEOUT, message);
        Ok(if begun.is_some() { exit.and_say(RESUME_HINT) } else { exit })
    }
}
