//! What can stand on the command line.

mod checking;
mod dead;
mod demo;
#[cfg(test)]
mod examples;
mod executing;
mod looking;
mod manuals;
mod queues;
mod submitting;

pub use checking::{Doctor, Fsck};
pub use dead::{Dead, DeadAct, DeadCommand, DeadList, DeadShow, Letter, Target};
pub use demo::Demo;
pub use executing::Exec;
pub use looking::{Kernels, Workers};
pub use manuals::{Completions, Man};
pub use queues::{Limit, Named, Peek, Purge, Queue, QueueCommand, Queues};
pub use submitting::{Map, Priority, Results, Submit, SubmitArgs, SummaryForm, When};

use std::path::PathBuf;

use clap::{Arg, Args, Parser, Subcommand};
use gristmill::shared::QueueName;

use crate::ids::Ids;
use crate::output::OutputFormat;

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
    /// Where Redis is: redis://[user:password@]host[:port][/db], redis+unix:///path, or
    /// redis+sentinel://[user:password@]host1,host2/service[/db], where sentinels name the master
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
    /// Run a kernel on every row of an input: JSON Lines, CSV, or a product of parameters
    Map(Map),
    /// Run a program for every row of an input: GNU parallel over machines
    Exec(Exec),
    /// Print the results of batches or tasks
    Results(Results),
    /// Show batches or tasks
    Status(Status),
    /// Cancel batches or tasks
    Cancel(Cancel),
    /// See what Gristmill does: a private Redis, a worker, real batches, all of it checked
    Demo(Demo),
    /// Run a private Redis and a worker until Ctrl-C
    Dev(Dev),
    /// List the queues
    Queues(Queues),
    /// Pause, resume, limit, purge or look into a queue
    Queue(Queue),
    /// List, show, retry or drop what ended badly
    Dead(Dead),
    /// List the kernels that workers offer
    Kernels(Kernels),
    /// List the workers
    Workers(Workers),
    /// Check the set-up: Redis and its configuration, clocks, workers
    Doctor(Doctor),
    /// Check every key: each task in one state, counters, leftovers; and repair
    Fsck(Fsck),
    /// Print a script that completes commands and options in a shell
    Completions(Completions),
    /// Print a manual page, or write all of them
    Man(Man),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill status 01990000-0000-7000-8000-000000000000.0 --json
  gristmill status - < ids.txt
  gristmill status - --output-format csv < done.csv")]
pub struct Status {
    /// Batches, or tasks as <batch>.<index>; '-' reads them from stdin: one per line, or what other commands print, as
    /// JSON or as a table with a column id, task or batch
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<Ids>,
    /// Print JSON: one array of objects
    #[arg(long, conflicts_with = "output_format")]
    pub json: bool,
    /// Print an object per line, or a row per line below a header: what stands within a field has columns of its own
    #[arg(long, value_enum, value_name = "jsonl|csv|tsv")]
    pub output_format: Option<OutputFormat>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill cancel 01990000-0000-7000-8000-000000000000
  gristmill cancel - < ids.txt
  gristmill cancel - < done.csv")]
pub struct Cancel {
    /// Batches, or tasks as <batch>.<index>; '-' reads them from stdin: one per line, or what other commands print, as
    /// JSON or as a table with a column id, task or batch
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<Ids>,
}

#[derive(Debug, Args)]
#[command(
    arg = no_redis(),
    after_help = "Examples:\n  gristmill dev\n  gristmill dev --persist ./data --consumers 4 --queues urgent,default\n  gristmill dev --worker target/debug/my-worker"
)]
pub struct Dev {
    /// Keep the data in this directory; without it all data goes when dev ends
    #[arg(long, value_name = "DIR")]
    pub persist: Option<PathBuf>,
    /// Number of consumer processes; auto: one per core
    #[arg(long, short = 'c', visible_alias = "processes", value_name = "N|auto", value_parser = consumers,
        default_value = "auto")]
    pub consumers: Consumers,
    /// Queues to serve, separated by commas; left before right
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = gristmill::shared::defaults::QUEUE)]
    pub queues: Vec<QueueName>,
    /// The worker program [default: $GRISTMILL_WORKER, else gristmill-worker beside this program or on PATH]
    #[arg(long, value_name = "PATH")]
    pub worker: Option<PathBuf>,
}

/// So many, or one per core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumers(pub Option<usize>);

/// As the worker has it.
fn consumers(text: &str) -> Result<Consumers, String> {
    if text == "auto" {
        return Ok(Consumers(None));
    }
    let number = text.parse().ok().filter(|number| (1..=1_024).contains(number));
    number.map(|number| Consumers(Some(number))).ok_or_else(|| "use auto or a number from 1 to 1024".to_owned())
}

/// Takes the place of the global one where it is refused: its help would promise what is not so.
fn no_redis() -> Arg {
    Arg::new("redis").long("redis").value_name("URL").hide(true)
}

/// The same for what talks to nobody at all.
fn no_namespace() -> Arg {
    Arg::new("namespace").long("namespace").value_name("NAME").hide(true)
}
