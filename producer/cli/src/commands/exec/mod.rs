//! `gristmill exec`: programs as tasks, one for each row.

mod held;
mod jobs;
mod outcomes;
mod output;
mod results_dir;
mod run;
mod template;

use std::fs::{self, File};
use std::future::ready;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use gristmill::shared::duration::{FOREVER, from_now};
use gristmill::shared::exec::{Exec as Kernel, OUTPUT_BYTES_MAX};
use gristmill::shared::{Kernel as _, KernelName, size};
use gristmill::{Client, SubmitOptions};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::held::{Begun, Held};
use self::jobs::{Jobs, Maker, quoted};
use self::outcomes::Outcomes;
use self::output::Printer;
use self::run::Run;
use super::map::begin::{Ends, identify};
use super::map::failed::{FailedFile, Unread};
use super::map::files;
use super::submit::options;
use crate::args::{Exec, Global};
use crate::exit::Exit;
use crate::input::{self, Findings, Format, Grid, Input, Make, Reading, Source};
use crate::on_thread::read_at_most;
use crate::resume::{EndedRows, Identity, Sidecar};
use crate::signals::Signals;
use crate::{say, session};

/// More bytes for each job's stdin would not fit into its arguments.
const STDIN_MAX: u64 = 30 << 20;

/// Returns the exit code that tells how many jobs failed.
pub async fn run(global: &Global, args: Exec, signals: &mut Signals) -> Result<u8, Exit> {
    refuse_what_no_program_sees(&args)?;
    let options = SubmitOptions { chunk: args.chunk, when_full: args.when_full(), ..options(&args.common).await? };
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
        return dry_run(source, maker, &jobs).map(|()| 0);
    }
    let client = session::connect(global).await?;
    check_kernel(&client, args.common.force).await?;
    let deadline = Instant::from(from_now(args.timeout.unwrap_or(FOREVER)));
    let mut ends = Ends { signals: &mut *signals, deadline };
    let (source, mut begun) = begin(&client, &args, &maker, source, &mut ends).await?;
    let mut ended = EndedRows::default();
    if let Some(begun) = &mut begun {
        maker.leave_out(std::mem::take(&mut begun.ended));
        ended = std::mem::take(&mut begun.results);
    }
    let failed = args.failed.as_deref().map(FailedFile::create).transpose()?;
    let alone = source.is_none();
    let (tasks, findings, unread) = match source {
        Some(source) => rows(source, maker, &jobs, &args),
        None => {
            let task = maker.alone().map_err(Exit::usage)?;
            let tasks = if task.is_empty() { stream::empty().boxed() } else { stream::iter([task]).boxed() };
            (tasks, Arc::default(), None)
        }
    };
    // Nothing is enqueued before it is written down that it will be.
    let (go, gate) = oneshot::channel::<()>();
    let gate = stream::once(async {
        if gate.await.is_err() {
            std::future::pending().await
        }
    });
    let tasks = gate.filter_map(|()| ready(None)).chain(tasks);
    let handle = client.map_raw(&name(), tasks, &options.acknowledge(begun.is_some())).await?;
    if let Some(begun) = &mut begun {
        begun.submit(handle.id())?;
    }
    // The batch waits for it for as long as its handle lives.
    let _ = go.send(());
    let outcomes = Outcomes::of(handle, args.unordered, ended, Arc::clone(&jobs));
    let printer = Printer::new(&args, is_typed(&args));
    let run = Run {
        client,
        args,
        begun,
        jobs,
        outcomes,
        findings,
        unread,
        printer,
        failed,
        deadline,
        alone,
        cancelled: false,
        not_run: 0,
        answered: false,
        failed_earlier: 0,
    };
    run.run(signals).await.map(Exit::count)
}

/// Takes the directory of results, and sees what has ended that is to be written there.
async fn begin(
    client: &Client,
    args: &Exec,
    maker: &Maker,
    source: Option<Source>,
    ends: &mut Ends<'_>,
) -> Result<(Option<Source>, Option<Begun>), Exit> {
    let Some(dir) = &args.results_dir else { return Ok((source, None)) };
    let held = Held::open(dir)?;
    let (source, input) = match source {
        None => (None, Identity::of_text("")),
        Some(source) => {
            let path = args.jobs_from.as_deref().filter(|path| !is_stdin(path));
            let known = held.known_input().filter(|_| args.resume);
            let (source, input) = ends.unless(identify(source, &args.grid, path, known)).await??;
            (Some(source), input)
        }
    };
    let form = serde_json::to_string(&Identity::of_text(&format!("{} {:?}", maker.form(), format(args))))
        .map_err(|error| Exit::new(Exit::BUG, error.to_string()))?;
    let now = Sidecar::new(Kernel::NAME, vec![form], input);
    Ok((source, Some(held.begin(client, now, args.resume, ends).await?)))
}

/// Shared input goes to kernels, and what is not stored nobody can print.
fn refuse_what_no_program_sees(args: &Exec) -> Result<(), Exit> {
    let given = [("--shared", &args.common.shared), ("--shared-bytes", &args.common.shared_bytes)];
    if let Some((flag, _)) = given.iter().find(|(_, path)| path.is_some()) {
        return Err(Exit::usage(format!("{flag}: no program can read it; --stdin FILE gives each job its bytes")));
    }
    let printed = [("--json", args.json), ("--results-dir", args.results_dir.is_some()), ("--tag", args.tag)];
    match printed.iter().find(|(_, wanted)| *wanted) {
        Some((flag, _)) if args.common.ignore_result => {
            Err(Exit::usage(format!("--ignore-result keeps nothing that {flag} could show: leave one of them out")))
        }
        _ => Ok(()),
    }
}

type Tasks = BoxStream<'static, Vec<u8>>;

/// Starts to read the rows: the tasks that become of them, without those that an earlier run has done.
fn rows(source: Source, maker: Maker, jobs: &Arc<Jobs>, args: &Exec) -> (Tasks, Arc<Findings>, Option<Unread>) {
    let grid_cells = args.failed.as_deref().and_then(Format::of).and_then(Format::delimiter);
    let reading = Reading { keep_sources: args.failed.is_some(), grid_cells, ..Reading::default() };
    let Input { findings, portions, rest, .. } = input::start(source, Box::new(maker), reading);
    let portions = stream::unfold(portions, async |mut portions| Some((portions.recv().await?, portions)));
    let (forget, jobs) = (Arc::clone(&findings), Arc::clone(jobs));
    let tasks = portions.flat_map(stream::iter).enumerate().filter_map(move |(index, task)| {
        let done = task.is_empty();
        let has_ended = jobs.pass(index as u64);
        if done && !has_ended {
            forget.take_kept(index as u64);
        }
        async move { (!done).then_some(task) }
    });
    let is_there = args.jobs_from.as_deref().is_none_or(is_there);
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
    if is_typed(args) {
        files::say_that_rows_are_typed();
    }
    let input: Box<dyn Read + Send> = if is_stdin(path) { Box::new(io::stdin()) } else { Box::new(files::open(path)?) };
    Ok(Some(Source::Text(input, format(args))))
}

/// Whether a person types the rows.
fn is_typed(args: &Exec) -> bool {
    args.jobs_from.as_deref().is_some_and(is_stdin) && io::stdin().is_terminal()
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether all rows are there, so that nobody waits for a writer. A pipe is not opened for that.
fn is_there(path: &Path) -> bool {
    if is_stdin(path) {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        return stdin.is_ok_and(|stdin| File::from(stdin).metadata().is_ok_and(|stdin| stdin.is_file()));
    }
    fs::metadata(path).is_ok_and(|found| found.is_file())
}

/// The bytes that each job gets.
fn read_stdin(path: &Path, args: &Exec) -> Result<Vec<u8>, Exit> {
    if is_stdin(path) && args.jobs_from.as_deref().is_some_and(is_stdin) {
        return Err(Exit::usage("--stdin and --jobs-from both read stdin: give one of them a file"));
    }
    let input: Box<dyn Read> = if is_stdin(path) { Box::new(io::stdin()) } else { Box::new(files::open(path)?) };
    let bytes = read_at_most(input, STDIN_MAX);
    let bytes = bytes.map_err(|error| Exit::usage(format!("cannot read {}: {error}", path.display())))?;
    bytes.ok_or_else(|| {
        let most = size::text(STDIN_MAX);
        Exit::usage(format!("--stdin {} is longer than {most}: let the program read it", path.display()))
    })
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
