//! How a map begins: anew, or where it was interrupted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;
use gristmill::shared::intervals::Intervals;
use gristmill::{BatchId, Client};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::AFTER_CANCEL;
use super::failed::FailedFile;
use super::files;
use crate::args::Map;
use crate::counted::counted;
use crate::exit::Exit;
use crate::input::{self, Axis, Findings, Head, Input, Make, Plan, Reading, Source};
use crate::on_thread::on_thread;
use crate::output::OutputFormat;
use crate::resume::{
    Beginning, EndedRows, Identity, Keeper, Lines, Opened, Output, Part, Sidecar, Wish, Written, stop,
};
use crate::say;
use crate::signals::Signals;

/// Rows that failed before and wait to be written once more.
const TOLD: usize = 64;

/// A map that can submit its batch.
pub struct Begun {
    pub out: Box<dyn Write>,
    pub written: Written,
    pub input: Input,
    pub ended: EndedRows,
    /// Of an output that can be gone on with.
    pub keeper: Option<Pending>,
}

/// What will be written down of a batch.
pub struct Pending {
    keeper: Keeper,
    /// Earlier batches of which results are wanted.
    batches: Vec<Part>,
    left_out: Intervals,
}

impl Pending {
    /// To be called before anything of the batch is enqueued. None: it cannot be written down, and need not.
    pub fn submit(mut self, batch: BatchId, must: bool) -> Result<Option<Keeper>, Exit> {
        match self.keeper.submit(self.batches, batch, self.left_out) {
            Ok(()) => Ok(Some(self.keeper)),
            Err(error) if must => Err(Exit::usage(format!("cannot write beside the output: {error}"))),
            Err(error) => {
                say!(
                    "gristmill: warning: cannot write beside the output: {error}; --resume will not go on with this map"
                );
                Ok(None)
            }
        }
    }
}

/// What ends the wait for a beginning.
pub struct Ends<'a> {
    pub signals: &'a mut Signals,
    pub deadline: Instant,
}

impl Ends<'_> {
    /// Waits, unless it is ended before.
    pub async fn unless<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, Exit> {
        tokio::select! {
            biased;
            code = self.signals.next() => {
                say!("gristmill: interrupted before anything new was submitted");
                Err(Exit::silent(code))
            }
            () = sleep_until(self.deadline) => {
                Err(Exit::new(Exit::TIMEOUT, "time is over, and nothing new was submitted; --resume goes on"))
            }
            done = wait => Ok(done),
        }
    }
}

/// What an output is begun for.
pub struct Beginner<'a> {
    pub args: &'a Map,
    pub client: &'a Client,
    pub make: Box<dyn Make>,
    pub reading: Reading,
}

impl Beginner<'_> {
    /// Opens the output and begins to read. None: all was done before.
    pub async fn begin(
        self,
        source: Source,
        failed: &mut Option<FailedFile>,
        ends: &mut Ends<'_>,
    ) -> Result<Option<Begun>, Exit> {
        let (args, wish) = (self.args, wish(self.args));
        let lines = lines(args);
        let output = args.output.as_deref().map(|path| Output::open(path, wish)).transpose()?.flatten();
        let Some(mut output) = output else {
            if wish == Wish::Resume {
                let message = "--resume goes on with the lines of a file: it needs --output FILE";
                return Err(Exit::usage(message));
            }
            empty(failed)?;
            let (out, input) = (files::output(args)?, input::start(source, self.make, self.reading));
            let (written, ended) = (Written::default(), EndedRows::default());
            return Ok(Some(Begun { out, written, input, ended, keeper: None }));
        };
        let known = output.known_input(wish).cloned();
        let (source, identity) = ends.unless(identify(source, &args.grid, args.input.as_deref(), known)).await??;
        let now = Sidecar::new(args.kernel.as_str(), form(args), identity);
        let (written, batches) = match output.begin(wish, lines, &now)? {
            Beginning::Anew { of_no_use } => {
                cancel(self.client, &of_no_use).await;
                (Written::default(), Vec::new())
            }
            Beginning::GoesOn { written, batches } => (written, batches),
            Beginning::Complete(written) => {
                if failed.is_some() {
                    let gathered = gather(source, self.make, self.reading, &written, failed);
                    ends.unless(gathered).await??;
                }
                return all_done(&written, &output).map(|()| None);
            }
        };
        let earlier = ends.unless(stop(self.client, &batches)).await??;
        // What it holds of an earlier run is gathered once more.
        empty(failed)?;
        let (to, told) = mpsc::channel(TOLD);
        let mut plan = Plan::new(written.rows.clone(), earlier);
        if failed.is_some() {
            plan = plan.tell(written.failed.clone(), to);
        }
        let (input, head) = input::go_on(source, self.make, self.reading, plan);
        let head = ends.unless(wait_for_head(head, told, failed, &input.findings)).await??;
        if !batches.is_empty() {
            let (lines, ended) = (counted(written.rows.len(), "line"), head.ended.len());
            say!("gristmill: {lines} stood in {} already, and {ended} more had ended", output.path().display());
        }
        let (head, batches) = only_wanted(head, batches);
        let ended = EndedRows::new(self.client, head.ended, &batches);
        let (file, keeper) = output.into_parts(now, written.end, args.resume)?;
        let keeper = Some(Pending { keeper, batches, left_out: head.left_out });
        Ok(Some(Begun { out: Box::new(file), written, input, ended, keeper }))
    }
}

fn wish(args: &Map) -> Wish {
    match (args.resume, args.restart) {
        (_, true) => Wish::Restart,
        (true, false) => Wish::Resume,
        (false, false) => Wish::New,
    }
}

/// How lines tell which row they answer.
fn lines(args: &Map) -> Lines {
    match OutputFormat::of(args.output_format, args.output.as_deref()) {
        OutputFormat::Jsonl if args.records || args.unordered || args.with_args => Lines::Records,
        OutputFormat::Jsonl => Lines::Bare,
        OutputFormat::Csv => Lines::Table(b','),
        OutputFormat::Tsv => Lines::Table(b'\t'),
    }
}

/// What decides how rows and lines look.
fn form(args: &Map) -> Vec<String> {
    let format = files::format(args).to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let format = format!("--input-format {format}");
    let flags = [
        (args.records, "--records"),
        (args.unordered, "--unordered"),
        (args.with_args, "--with-args"),
        (args.strings, "--strings"),
        (lines(args) == Lines::Table(b','), "--output-format csv"),
        (lines(args) == Lines::Table(b'\t'), "--output-format tsv"),
        (args.grid.is_empty() && files::format(args) != input::Format::Jsonl, format.as_str()),
    ];
    flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name.to_owned()).collect()
}

/// Looks at the beginning of the input, on a thread: it may come late.
pub async fn identify(
    source: Source,
    axes: &[Axis],
    path: Option<&Path>,
    known: Option<Identity>,
) -> Result<(Source, Identity), Exit> {
    let (input, format) = match source {
        Source::Grid(grid) => {
            let axes: Vec<String> = axes.iter().map(|axis| format!("{axis:?}")).collect();
            return Ok((Source::Grid(grid), Identity::of_text(&axes.join("\n"))));
        }
        Source::Text(input, format) => (input, format),
    };
    let metadata = match path {
        Some(path) => fs::metadata(path).ok(),
        None => stdin_metadata(),
    };
    let opened = Opened { input, metadata };
    let read = on_thread(move || Identity::read(opened, known.as_ref())).await?;
    let (identity, headed) = read.map_err(|error| Exit::usage(format!("cannot read the input: {error}")))?;
    Ok((Source::Text(Box::new(headed), format), identity))
}

#[cfg(unix)]
fn stdin_metadata() -> Option<fs::Metadata> {
    use std::os::fd::AsFd;
    File::from(io::stdin().as_fd().try_clone_to_owned().ok()?).metadata().ok()
}

#[cfg(not(unix))]
fn stdin_metadata() -> Option<fs::Metadata> {
    None
}

fn empty(failed: &mut Option<FailedFile>) -> Result<(), Exit> {
    failed.as_mut().map_or(Ok(()), FailedFile::empty)
}

/// Writes the rows once more that failed in a map that is complete.
async fn gather(
    source: Source,
    make: Box<dyn Make>,
    reading: Reading,
    written: &Written,
    failed: &mut Option<FailedFile>,
) -> Result<(), Exit> {
    empty(failed)?;
    let (to, told) = mpsc::channel(TOLD);
    let plan = Plan::new(written.rows.clone(), Vec::new()).tell(written.failed.clone(), to);
    let (input, head) = input::go_on(source, make, reading, plan);
    wait_for_head(head, told, failed, &input.findings).await?;
    failed.as_mut().map_or(Ok(()), FailedFile::flush)
}

/// Nobody asks for them any more. They may be gone, and whatever they do costs only time.
pub async fn cancel(client: &Client, batches: &[BatchId]) {
    for &batch in batches {
        match timeout(AFTER_CANCEL, client.cancel_unstarted(batch)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => {
                say!("gristmill: warning: the batch {batch}, which was interrupted, is not cancelled")
            }
        }
    }
}

/// Waits until it is known which rows need not run. Those that failed go into their file once more.
async fn wait_for_head(
    mut head: oneshot::Receiver<Head>,
    mut told: mpsc::Receiver<Vec<u8>>,
    failed: &mut Option<FailedFile>,
    findings: &Findings,
) -> Result<Head, Exit> {
    loop {
        tokio::select! {
            biased;
            Some(source) = told.recv() => if let Some(file) = failed {
                file.add(findings, &source)?;
            },
            head = &mut head => return head.map_err(|_| Exit::new(Exit::BUG, "the thread that read the input is gone")),
        }
    }
}

/// Without the batches that no row is wanted of.
pub fn only_wanted(mut head: Head, batches: Vec<Part>) -> (Head, Vec<Part>) {
    let mut places = vec![None; batches.len()];
    let mut wanted = Vec::new();
    for ended in &mut head.ended {
        let place = *places[ended.earlier].get_or_insert_with(|| {
            wanted.push(batches[ended.earlier].clone());
            wanted.len() - 1
        });
        ended.earlier = place;
    }
    (head, wanted)
}

fn all_done(written: &Written, output: &Output) -> Result<(), Exit> {
    let (lines, path) = (counted(written.rows.len(), "line"), output.path().display());
    say!("gristmill: the map is complete: {lines} in {path}");
    let Some(first) = &written.first_failure else { return Ok(()) };
    Err(Exit::new(Exit::TASK, format!("{} of {lines} did not succeed; the first: {first}", written.failed.len())))
}
