//! The commands that submit and collect.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum, value_parser};
use gristmill::shared::defaults::MESSAGE_TASKS_MAX;
use gristmill::shared::{KernelName, QueueName, size};
use gristmill::{Lane, WhenFull};

use crate::ids::Ids;
use crate::input::{Axis, Format};
use crate::kernel_check::Checks;
use crate::output::OutputFormat;
use crate::times::{parse_duration, parse_some_time, parse_time};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill submit sum_sqrt 1000000 --wait
  gristmill submit image.thumbnail '{\"path\": \"a.png\", \"size\": 64}' --queue images
  gristmill submit report --at 2027-01-01T06:00:00+01:00 --expires 2h
  gristmill submit fetch '\"https://example.org\"' --retries 5 --backoff 10s --backoff-max 5m
  gristmill submit report '\"2027-01\"' --key report-2027-01 --label month=2027-01
  gristmill submit render 7 --time-limit 10m --soft-time-limit 9m --memory 2GiB
  echo '[1, 2]' | gristmill submit add - --wait")]
pub struct Submit {
    /// The kernel to run
    pub kernel: KernelName,
    /// Its arguments, one JSON value: the sole parameter, or an array of several; '-' reads stdin
    #[arg(value_name = "ARGS_JSON", allow_negative_numbers = true)]
    pub args: Option<String>,
    /// Wait for the result and print it
    #[arg(long)]
    pub wait: bool,
    /// With --wait: stop waiting for the result after this time (exit code 4; the work continues); with
    /// --when-full wait: for room (exit code 6)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// What to do while the queue is full or Redis near its memory limit [default: fail, exit code 6]
    #[arg(long, value_enum, value_name = "fail|wait")]
    pub when_full: Option<When>,
    /// The idempotency key: within its window, the same key is the same task, and nothing is submitted twice. Other
    /// work with the same key is refused
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// How long the key is kept, from 1s to 30d [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "key")]
    pub key_window: Option<Duration>,
    #[command(flatten)]
    pub common: SubmitArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  seq 1000 | gristmill map square
  gristmill map image.thumbnail --input jobs.jsonl --output done.jsonl --keep-going
  gristmill map image.thumbnail --input jobs.jsonl --output done.jsonl --keep-going --resume
  gristmill map render --input jobs.jsonl --summary --priority low --result-ttl 1h
  gristmill map render --input jobs.jsonl --check --detach
  gristmill map hash --input jobs.jsonl --chunk 500 --when-full fail
  gristmill map align --input reads.jsonl --shared-bytes genome.bin --label run=7
  gristmill map image.thumbnail --input images.csv --failed again.csv --max-failures 100
  gristmill map simulate --grid alpha=0:1:0.1 --grid seed=1..100 --with-args --output sweep.csv")]
pub struct Map {
    /// The kernel to run
    pub kernel: KernelName,
    /// Read arguments from this file instead of stdin: one JSON value per line, or what --input-format says
    #[arg(long, short, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// How the input is divided into rows [default: as the file's name ends, .csv or .tsv; else jsonl]
    #[arg(long, value_enum, value_name = "jsonl|csv|tsv|lines")]
    pub input_format: Option<Format>,
    /// Read all cells of CSV as texts, whatever they look like
    #[arg(long)]
    pub strings: bool,
    /// Instead of an input: every combination of these parameters; the last one varies fastest. VALUES are
    /// integers as 1..100, steps as 0:1:0.1 (the last included), or a list as 3,fast,"x,y"
    #[arg(long, value_name = "NAME=VALUES", conflicts_with_all = ["input", "input_format", "strings"])]
    pub grid: Vec<Axis>,
    /// Write results to this file instead of stdout: one JSON value per line, or what --output-format says
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How results are written [default: as the file's name ends, .csv or .tsv; else jsonl]. A table has the
    /// columns index, id, then one for the value or one for each field of the first, then error_kind, error
    #[arg(long, value_enum, value_name = "jsonl|csv|tsv")]
    pub output_format: Option<OutputFormat>,
    /// Submit everything, print the batch and end: `results BATCH --wait` collects the results. A bad row cancels it
    #[arg(long, conflicts_with_all = [
        "output", "output_format", "records", "with_args", "failed", "max_failures", "unordered", "keep_going",
        "summary", "timeout", "resume", "restart",
    ])]
    pub detach: bool,
    /// Go on with the map that was to write the output and was interrupted, however that was: what has ended does not
    /// run again. A file <FILE>.gristmill stands beside it, and stays: without it nothing is known of an output, and it
    /// is refused; with it, a map that is complete is not run again
    #[arg(long)]
    pub resume: bool,
    /// Begin anew, whatever stands in the output
    #[arg(long, requires = "output", conflicts_with = "resume")]
    pub restart: bool,
    /// Print {"index", "id", "value" | "error"} instead of bare values
    #[arg(long)]
    pub records: bool,
    /// Write the arguments beside each result: as "args" of a record (implies --records), or as columns
    #[arg(long)]
    pub with_args: bool,
    /// Write the rows of the input that did not succeed to this file, for another run; also those that were not
    /// started because this one was ended
    #[arg(long, value_name = "FILE")]
    pub failed: Option<PathBuf>,
    /// Once so many rows did not succeed, cancel what has not started (exit code 1). With --resume, what failed before
    /// does not count
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub max_failures: Option<u64>,
    /// Print each result as soon as it is there (implies --records)
    #[arg(long)]
    pub unordered: bool,
    /// Answer a bad input line with its $error and go on
    #[arg(long)]
    pub keep_going: bool,
    /// Look through the whole input file, or grid, before the first task is submitted
    #[arg(long, requires = "input")]
    pub check: bool,
    /// Say on stderr at the end how many tasks ended how, how fast, and what one process would have taken
    #[arg(long, value_enum, value_name = "text|json", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub summary: Option<SummaryForm>,
    /// Stop waiting after this time (exit code 4); the work continues
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Tasks per message, 1 to 4096 [default: as many as take about 30 ms]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=i64::from(MESSAGE_TASKS_MAX)))]
    pub chunk: Option<u32>,
    /// Start no more once results which nobody has collected take more room in Redis [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub result_bytes: Option<u64>,
    /// What to do while the queue is full or Redis near its memory limit [default: wait]
    #[arg(long, value_enum, value_name = "fail|wait")]
    pub when_full: Option<When>,
    #[command(flatten)]
    pub common: SubmitArgs,
}

pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let size = size::parse(text).filter(|bytes| *bytes > 0);
    size.ok_or_else(|| format!("{text:?} is no size: use for instance {}", size::EXAMPLES))
}

#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The queue
    #[arg(long, value_name = "NAME", default_value = gristmill::shared::defaults::QUEUE)]
    pub queue: QueueName,
    /// The lane of the queue: what waits in a higher one always goes first
    #[arg(long, value_enum, default_value_t = Priority::Normal)]
    pub priority: Priority,
    /// Start not before this time has passed, for instance 90s or 2h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "at")]
    pub delay: Option<Duration>,
    /// Start not before this time, RFC 3339 with a zone: 2027-01-01T06:00:00+01:00; one in the past is now
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub at: Option<SystemTime>,
    /// A task that has not started so long after it was due ends as `expired` [default: 7d]
    #[arg(long, value_name = "DURATION", value_parser = parse_some_time)]
    pub expires: Option<Duration>,
    /// Attempts after the first that fails [default: as the kernel declares, else 0]
    #[arg(long, value_name = "N")]
    pub retries: Option<u16>,
    /// Longest wait before the second attempt; it doubles with each further one, and is drawn by lot below that
    /// [default: as the kernel declares, else 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub backoff: Option<Duration>,
    /// The wait before an attempt is never longer [default: as the kernel declares, else 10m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub backoff_max: Option<Duration>,
    /// End a task that runs longer [default: as the kernel declares, else none]
    #[arg(long, value_name = "DURATION", value_parser = parse_some_time)]
    pub time_limit: Option<Duration>,
    /// Ask a task that runs longer to end by itself [default: as the kernel declares, else none]
    #[arg(long, value_name = "DURATION", value_parser = parse_some_time)]
    pub soft_time_limit: Option<Duration>,
    /// End a task that holds more memory, for instance 512MiB; a worker that has less refuses it [default: as the
    /// kernel declares, else none]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
    /// Keep results so long after the last task has ended [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub result_ttl: Option<Duration>,
    /// Write this on the batch, for people who look at it with `status`; several labels are fine
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Store no outputs: it is known how each task ended, but what it returned is dropped
    #[arg(long)]
    pub ignore_result: bool,
    /// What all tasks share, a file with one JSON value: stored once, fetched once per consumer
    #[arg(long, value_name = "FILE", conflicts_with = "shared_bytes")]
    pub shared: Option<PathBuf>,
    /// The same with a file of any bytes
    #[arg(long, value_name = "FILE")]
    pub shared_bytes: Option<PathBuf>,
    /// Submit even if no worker has offered the kernel, or if it takes other arguments
    #[arg(long)]
    pub force: bool,
    /// Do not compare the arguments with what the kernel takes
    #[arg(long)]
    pub no_check: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, for instance experiment=7")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl SubmitArgs {
    /// What is looked at before anything is submitted.
    pub fn checks(&self) -> Checks {
        Checks { kernel: !self.force, arguments: !self.force && !self.no_check }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Priority {
    High,
    Normal,
    Low,
}

impl From<Priority> for Lane {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::High => Self::High,
            Priority::Normal => Self::Normal,
            Priority::Low => Self::Low,
        }
    }
}

/// What to do while there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// End at once (exit code 6; 126 of exec)
    Fail,
    /// Wait for room
    Wait,
}

impl From<When> for WhenFull {
    fn from(when: When) -> Self {
        match when {
            When::Fail => Self::Fail,
            When::Wait => Self::Wait,
        }
    }
}

/// How a summary is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SummaryForm {
    /// For people
    Text,
    /// One object, for programs
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill results 01990000-0000-7000-8000-000000000000 --wait
  gristmill results 01990000-0000-7000-8000-000000000000 --wait --output done.csv
  for n in 1 2 3; do gristmill submit square $n; done | gristmill results - --wait")]
pub struct Results {
    /// Batches, or tasks as <batch>.<index>; '-' reads them from stdin: one per line, or what other commands print, as
    /// JSON or as a table with a column id, task or batch
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<Ids>,
    /// Wait until all of it has ended
    #[arg(long)]
    pub wait: bool,
    /// Stop waiting after this time (exit code 4); the work continues
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "wait")]
    pub timeout: Option<Duration>,
    /// Print {"index", "id", "value" | "error"} instead of bare values
    #[arg(long)]
    pub records: bool,
    /// Write results to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How results are written [default: as the file's name ends, .csv or .tsv; else jsonl]
    #[arg(long, value_enum, value_name = "jsonl|csv|tsv")]
    pub output_format: Option<OutputFormat>,
}
