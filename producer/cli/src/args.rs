//! What can stand on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gristmill::shared::{BatchId, KernelName, QueueName};

use crate::id::Id;
use crate::times::parse_duration;

/// Gristmill, a task queue for CPU-bound work: submit tasks, collect results, look at queues and workers.
#[derive(Debug, Parser)]
#[command(
    name = "gristmill",
    arg_required_else_help = true,
    version,
    max_term_width = 100,
    after_help = "Example:\n  gristmill submit sum_sqrt 1000000 --wait"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Where Redis is: redis://[user:password@]host[:port][/db] or redis+unix:///path
    #[arg(long, global = true, value_name = "URL", env = "GRISTMILL_REDIS", hide_env_values = true,
        default_value = gristmill::shared::defaults::REDIS_URL)]
    pub redis: String,
    /// The namespace of the deployment
    #[arg(long, global = true, value_name = "NAME", env = "GRISTMILL_NAMESPACE",
        default_value = gristmill::shared::defaults::NAMESPACE)]
    pub namespace: String,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Submit one task
    Submit(Submit),
    /// Run a kernel on every line of a JSON Lines input
    Map(Map),
    /// Print the results of a batch
    Results(Results),
    /// Show a batch or a task
    Status(Status),
    /// Cancel a batch or a task
    Cancel(Cancel),
    /// List the queues
    Queues(Listing),
    /// List the kernels that workers offer
    Kernels(Listing),
    /// List the workers
    Workers(Listing),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gristmill submit sum_sqrt 1000000 --wait\n  gristmill submit image.thumbnail '{\"path\": \"a.png\", \"size\": 64}' --queue images\n  echo '[1, 2]' | gristmill submit add - --wait"
)]
pub struct Submit {
    /// The kernel to run
    pub kernel: KernelName,
    /// Its arguments, one JSON value: the sole parameter, or an array of several; '-' reads stdin
    #[arg(value_name = "ARGS_JSON", allow_negative_numbers = true)]
    pub args: Option<String>,
    /// Wait for the result and print it
    #[arg(long)]
    pub wait: bool,
    /// Stop waiting after this time (exit code 4); the work continues
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "wait")]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub common: SubmitArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  seq 1000 | gristmill map square\n  gristmill map image.thumbnail --input jobs.jsonl --output done.jsonl --keep-going"
)]
pub struct Map {
    /// The kernel to run
    pub kernel: KernelName,
    /// Read arguments from this file instead of stdin, one JSON value per line
    #[arg(long, short, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Write results to this file instead of stdout, one JSON value per line
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print {"index", "id", "value" | "error"} instead of bare values
    #[arg(long)]
    pub records: bool,
    /// Print each result as soon as it is there (implies --records)
    #[arg(long)]
    pub unordered: bool,
    /// Answer a bad input line with its $error and go on
    #[arg(long)]
    pub keep_going: bool,
    /// Look through the whole input file before the first task is submitted
    #[arg(long, requires = "input")]
    pub check: bool,
    /// Stop waiting after this time (exit code 4); the work continues
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub common: SubmitArgs,
}

#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The queue
    #[arg(long, value_name = "NAME", default_value = gristmill::shared::defaults::QUEUE)]
    pub queue: QueueName,
    /// The lane of the queue
    #[arg(long, value_enum, default_value_t = Priority::Normal)]
    pub priority: Priority,
    /// Attempts after the first that fails [default: as the kernel declares, else 0]
    #[arg(long, value_name = "N")]
    pub retries: Option<u16>,
    /// End a task that runs longer [default: as the kernel declares, else none]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub time_limit: Option<Duration>,
    /// Submit even if no worker has offered the kernel
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Priority {
    High,
    Normal,
    Low,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gristmill results 01990000-0000-7000-8000-000000000000 --wait")]
pub struct Results {
    /// The batch
    pub batch: BatchId,
    /// Wait until the batch has finished
    #[arg(long)]
    pub wait: bool,
    /// Stop waiting after this time (exit code 4); the work continues
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "wait")]
    pub timeout: Option<Duration>,
    /// Print {"index", "id", "value" | "error"} instead of bare values
    #[arg(long)]
    pub records: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gristmill status 01990000-0000-7000-8000-000000000000.0 --json")]
pub struct Status {
    /// A batch, or a task as <batch>.<index>
    pub id: Id,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gristmill cancel 01990000-0000-7000-8000-000000000000")]
pub struct Cancel {
    /// A batch, or a task as <batch>.<index>
    pub id: Id,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gristmill queues --json\n  gristmill kernels\n  gristmill workers")]
pub struct Listing {
    /// Print JSON: one array of objects
    #[arg(long)]
    pub json: bool,
}
