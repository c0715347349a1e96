//! `gristmill exec`: programs as tasks, one for each row.

mod jobs;
mod outcomes;
mod output;
mod results_dir;
mod template;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use gristmill::shared::duration::{FOREVER, from_now};
use gristmill::shared::exec::{Exec as Kernel, OUTPUT_BYTES_MAX};
use gristmill::shared::{Kernel as _, KernelName, size};
use gristmill::{Client, OutcomeKind, SubmitOptions, TaskError};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use self::jobs::{Jobs, Maker, quoted};
use self::outcomes::Outcomes;
use self::output::Printer;
use super::map::failed::{FailedFile, Unread};
use super::map::{files, summary};
use super::submit::options;
use crate::args::{Exec, Global};
use crate::counted::counted;
use crate::exit::Exit;
use crate::input::{self, BadRow, Findings, Format, Grid, Input, Make, Reading, Source};
use crate::signals::Signals;
use crate::{say, session};

const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How long cancelling, and the outcomes of what was cancelled, are waited for.
const AFTER_CANCEL: Duration = Duration::from_secs(5);
/// More bytes for each job's stdin would not fit into its arguments.
const STDIN_MAX: u64 = 30 << 20;
/// With `--exit-count`, more failures than this are told as one more.
const COUNT_MAX: u64 = 100;

pub async fn run(global: &Global, args: Exec, signals: &mut Signals) -> Result<(), Exit> {
    let options = SubmitOptions { chunk: args.chunk, when_full: args.when_full(), ..options(&args.common)? };
    if args.output_max.is_some_and(|bytes| bytes > OUTPUT_BYTES_MAX) {
        return Err(Exit::usage(format!("--output-max: use at most {}", size::text(OUTPUT_BYTES_MAX))));
    }
    let stdin = args.stdin.as_deref().map(|path| read_stdin(path, &args)).transpose()?;
    let jobs = Arc::new(Jobs::default());
    let mut maker = Maker::new(&args, stdin, Arc::clone(&jobs))?;
    let source = source(&args)?;
    if let Some(Source::Grid(grid)) = &source {
        maker.columns(grid.names()).map_err(Exit::usage)?;
    }
    if args.dry_run {
        return dry_run(source, maker, &jobs);
    }
    let client = session::connect(global).await?;
    check_kernel(&client, args.common.force).await?;
    if let Some(dir) = &args.results_dir {
        results_dir::create(dir)?;
    }
    let failed = args.failed.as_deref().map(FailedFile::create).transpose()?;
    let alone = source.is_none();
    let (tasks, findings, unread) = match source {
        Some(source) => rows(source, maker, &args),
        None => {
            let task = maker.alone().map_err(Exit::usage)?;
            let tasks = if task.is_empty() { stream::empty().boxed() } else { stream::iter([task]).boxed() };
            (tasks, Arc::default(), None)
        }
    };
    let handle = client.map_raw(&name(), tasks, &options).await?;
    let outcomes = Outcomes::of(handle, args.unordered);
    let deadline = Instant::from(from_now(args.timeout.unwrap_or(FOREVER)));
    let printer = Printer::new(&args);
    let run =
        Run { args, jobs, outcomes, findings, unread, printer, failed, deadline, alone, cancelled: false, not_run: 0 };
    run.run(signals).await
}

type Tasks = BoxStream<'static, Vec<u8>>;

/// Starts to read the rows: the tasks that become of them, without those that an earlier run has done.
fn rows(source: Source, maker: Maker, args: &Exec) -> (Tasks, Arc<Findings>, Option<Unread>) {
    let reading = Reading { keep_sources: args.failed.is_some(), ..Reading::default() };
    let Input { findings, portions, rest, .. } = input::start(source, Box::new(maker), reading);
    let portions = stream::unfold(portions, async |mut portions| Some((portions.recv().await?, portions)));
    let forget = Arc::clone(&findings);
    let tasks = portions.flat_map(stream::iter).enumerate().filter_map(move |(index, task)| {
        let done = task.is_empty();
        if done {
            forget.take_kept(index as u64);
        }
        async move { (!done).then_some(task) }
    });
    let is_there = args.jobs_from.as_deref().is_none_or(|path| !is_stdin(path));
    (tasks.boxed(), findings, Some(Unread::new(rest, is_there)))
}

fn name() -> KernelName {
    // The name of a kernel of ours is a name.
    KernelName::new(Kernel::NAME).unwrap_or_else(|error| unreachable!("{error}"))
}

fn format(args: &Exec) -> Format {
    let by_name = || args.jobs_from.as_deref().and_then(Format::of);
    args.input_format.or_else(by_name).unwrap_or(Format::Lines)
}

/// Where rows come from; none: there is one job.
fn source(args: &Exec) -> Result<Option<Source>, Exit> {
    if !args.grid.is_empty() {
        return Ok(Some(Source::Grid(Grid::new(&args.grid).map_err(Exit::usage)?)));
    }
    let Some(path) = &args.jobs_from else { return Ok(None) };
    if let Some(failed) = &args.failed
        && files::same_file(path, failed)
    {
        return Err(Exit::usage(format!("{} is --jobs-from and --failed: choose another file", path.display())));
    }
    let input: Box<dyn Read + Send> = if is_stdin(path) { Box::new(io::stdin()) } else { Box::new(files::open(path)?) };
    Ok(Some(Source::Text(input, format(args))))
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The bytes that each job gets.
fn read_stdin(path: &Path, args: &Exec) -> Result<Vec<u8>, Exit> {
    if is_stdin(path) && args.jobs_from.as_deref().is_some_and(is_stdin) {
        return Err(Exit::usage("--stdin and --jobs-from both read stdin: give one of them a file"));
    }
    let mut bytes = Vec::new();
    let input: Box<dyn Read> = if is_stdin(path) { Box::new(io::stdin()) } else { Box::new(files::open(path)?) };
    let read = input.take(STDIN_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Exit::usage(format!("cannot read {}: {error}", path.display())))?;
    if bytes.len() as u64 > STDIN_MAX {
        let most = size::text(STDIN_MAX);
        return Err(Exit::usage(format!("--stdin {} is longer than {most}: let the program read it", path.display())));
    }
    Ok(bytes)
}

fn dry_run(source: Option<Source>, mut maker: Maker, jobs: &Jobs) -> Result<(), Exit> {
    let Some(source) = source else {
        maker.alone().map_err(Exit::usage)?;
        return print_commands(jobs);
    };
    let checked = input::check(source, &mut maker);
    print_commands(jobs)?;
    let checked = checked.map_err(|error| Exit::usage(format!("cannot read the rows: {error}")))?;
    checked.map(drop).map_err(|bad| Exit::usage(format!("{}: {}", bad.place, bad.message)))
}

fn print_commands(jobs: &Jobs) -> Result<(), Exit> {
    use io::Write;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for job in jobs.waiting() {
        writeln!(out, "{}", quoted(&job.argv))?;
    }
    Ok(out.flush()?)
}

/// Programs run only where an operator has allowed some.
async fn check_kernel(client: &Client, force: bool) -> Result<(), Exit> {
    let known = client.kernels().await?;
    if known.iter().any(|kernel| kernel.name.as_str() == Kernel::NAME) {
        return Ok(());
    }
    let how = "start one with gristmill-worker --allow-exec 'PROGRAM *'";
    if known.is_empty() || force {
        say!("gristmill: warning: no worker runs programs yet; the jobs wait until one does: {how}");
        return Ok(());
    }
    let message = format!("no worker runs programs: {how} (--force submits the jobs anyway)");
    Err(Exit::new(Exit::UNKNOWN, message))
}

struct Run {
    args: Exec,
    jobs: Arc<Jobs>,
    outcomes: Outcomes,
    findings: Arc<Findings>,
    unread: Option<Unread>,
    printer: Printer,
    failed: Option<FailedFile>,
    deadline: Instant,
    /// There are no rows.
    alone: bool,
    /// Nothing more is started.
    cancelled: bool,
    /// Jobs that were not started because of that.
    not_run: u64,
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
    async fn run(mut self, signals: &mut Signals) -> Result<(), Exit> {
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
        self.write_rest(&end).await?;
        self.close(end).await
    }

    /// Prints results as they come.
    async fn print_until(&mut self, deadline: Instant, signals: &mut Signals) -> Result<End, Exit> {
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if !self.cancelled && self.args.max_failures.is_some_and(|most| self.printer.failed() >= most) {
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
                Some((index, result)) => self.take(index, result)?,
                None => return Ok(End::All),
            }
        }
    }

    fn take(&mut self, index: u64, result: Result<Vec<u8>, TaskError>) -> Result<(), Exit> {
        let Some(job) = self.jobs.take(index) else {
            return Err(Exit::new(Exit::BUG, format!("the task {index} is none of this command")));
        };
        // No row is passed over, so that rows and jobs have the same numbers.
        let source = self.findings.take_kept(job.number - 1).and_then(|kept| kept.source);
        let not_run =
            self.cancelled && matches!(&result, Err(TaskError::Ended(end)) if end.kind == OutcomeKind::Cancelled);
        self.not_run += u64::from(not_run);
        let well = !not_run && self.printer.take(self.outcomes.batch().task(index), &job, result)?;
        if let (false, Some(file)) = (well, &mut self.failed) {
            file.add(&self.findings, &source.unwrap_or_default())?;
        }
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
    async fn write_rest(&mut self, end: &End) -> Result<(), Exit> {
        let Some(file) = &mut self.failed else { return Ok(()) };
        if let (Some(unread), false) = (self.unread.take(), matches!(end, End::All)) {
            file.add_rest(&self.findings, unread, 0).await?;
        }
        file.flush()
    }

    /// What came of it all, in words and as an exit code.
    async fn close(self, end: End) -> Result<(), Exit> {
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
        match end {
            End::Signal(code) => return Err(Exit::silent(code)),
            End::Timeout => return self.leave(ended).await,
            End::All | End::BadRow | End::Failures => {}
        }
        if let Some(BadRow { place, message, .. }) = self.findings.stopped_at() {
            return Err(Exit::usage(format!("{place}: {message}; nothing after it was submitted")));
        }
        if let Some(error) = self.findings.failed() {
            return Err(Exit::usage(format!("cannot read the rows: {error}")));
        }
        match failed {
            0 => Ok(()),
            _ if !self.args.exit_count => Err(Exit::silent(Exit::TASK)),
            1..=COUNT_MAX => Err(Exit::silent(failed as u8)),
            _ => Err(Exit::silent(COUNT_MAX as u8 + 1)),
        }
    }

    /// Time is over: the jobs go on without us.
    async fn leave(self, ended: u64) -> Result<(), Exit> {
        let batch = self.outcomes.batch();
        // Redis may be what does not answer in time.
        if let Ok(Err(error)) = timeout(AFTER_CANCEL, self.outcomes.leave()).await {
            return Err(error.into());
        }
        let ended = counted(ended, "job");
        let message =
            format!("time is over after {ended}; those that were submitted go on, see gristmill results {batch}");
        Err(Exit::new(Exit::TIMEOUT, message))
    }
}
