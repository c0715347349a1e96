//! The command that runs programs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use gristmill::WhenFull;

use super::SummaryForm;
use super::submitting::{SubmitArgs, When, parse_size};
use crate::input::{Axis, Format};
use crate::times::parse_duration;

#[derive(Debug, Args)]
#[command(
    // No program could read it: it goes to kernels.
    mut_arg("shared", |arg| arg.hide(true)),
    mut_arg("shared_bytes", |arg| arg.hide(true)),
    override_usage = "gristmill exec [OPTIONS] -- <PROGRAM> [ARGUMENT]...",
    after_help = "Examples:
  gristmill exec -- hostname
  seq 100 | gristmill exec --jobs-from - -- python3 train.py --seed {}
  gristmill exec --jobs-from jobs.csv -- ffmpeg -i {input} -vf scale={width}:-2 {output}
  gristmill exec --grid lr=0.1,0.01 --grid seed=1..10 --results-dir out -- python3 train.py --lr {lr} --seed {seed}
  gristmill exec --jobs-from files.txt --retries 2 --time-limit 10m --failed again.txt -- /srv/jobs/convert.sh

In PROGRAM, its arguments, --env and --cwd, {} is the row (a line, or all of its cells), {name} a \
column, a field or a parameter, {#} the number of the job from 1, {{ and }} are braces. Lines go to the end of a command \
without any of these.

No shell reads the command: for pipes and variables run one, as in -- sh -c 'gzip -c \"$1\" | wc -c' sh {}. What may run \
is for the workers to say: gristmill-worker --allow-exec PATTERN.

The output of each job comes whole, in the order of the rows: stdout to stdout, stderr to stderr. Only the last \
--output-max bytes of each are kept, and of a job that fails 6 KiB. max_rss_bytes of --json and status.json is no \
less than the memory of the worker process that started the program.

The exit code tells how many jobs failed, as GNU parallel's does: 0 none, 1 to 100 so many, 101 more. Errors of exec itself are \
above that, at 120 more than other commands have: 122 bad usage or input, 123 Redis, 124 --timeout passed, 125 no worker \
runs programs, 126 refused, 190 a bug; 130 and 143 after signals."
)]
pub struct Exec {
    /// The program, by its name on the PATH of the workers or by an absolute path there, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub command: Vec<String>,
    /// Run a job for each row of this file; - is stdin. Without this and --grid, there is one job
    #[arg(long, short = 'a', value_name = "FILE", conflicts_with = "grid")]
    pub jobs_from: Option<PathBuf>,
    /// How that file is divided into rows [default: as its name ends, .csv, .tsv or .jsonl; else lines]
    #[arg(long, value_enum, value_name = "jsonl|csv|tsv|lines", requires = "jobs_from")]
    pub input_format: Option<Format>,
    /// Run a job for every combination of these parameters; the last one varies fastest. VALUES are integers as 1..100,
    /// steps as 0:1:0.1 (the last included), or a list as 3,fast,"x,y"
    #[arg(long, value_name = "NAME=VALUES")]
    pub grid: Vec<Axis>,
    /// Give each job the bytes of this file on stdin; - is our own stdin
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<PathBuf>,
    /// Set this variable for the program, with our own value if there is none; workers have to allow it
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Run the program in this directory of the workers, an absolute path; they have to allow it
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Keep so much of the end of stdout and of stderr, at most 15MiB [default: 1MiB]. What a program wrote is lost
    /// when --time-limit or a memory limit ends it, and kept when --soft-time-limit does, which sends SIGTERM
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub output_max: Option<u64>,
    /// Print what a job wrote as soon as it has ended
    #[arg(long)]
    pub unordered: bool,
    /// Begin each line of output with the row it belongs to, and a tab
    #[arg(long, conflicts_with = "json")]
    pub tag: bool,
    /// Print a JSON object for each job instead of what it wrote
    #[arg(long)]
    pub json: bool,
    /// Write what each job wrote to DIR/<number>/stdout and stderr, and how it ended to status.json; the number has
    /// six digits: DIR/000001/stdout
    #[arg(long, value_name = "DIR")]
    pub results_dir: Option<PathBuf>,
    /// Do not run again what has exit code 0 in --results-dir, nor what has ended in a run that was interrupted: what had
    /// not started of it is cancelled, and what runs is waited for. The command, --env, --cwd and --stdin have to be what
    /// they were
    #[arg(long, requires = "results_dir")]
    pub resume: bool,
    /// Write the rows of jobs that did not succeed to this file, for another run; also those that were not started
    /// because this one was ended. After --timeout: those that were not submitted
    #[arg(long, value_name = "FILE")]
    pub failed: Option<PathBuf>,
    /// Once so many jobs did not succeed, cancel what has not started
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub max_failures: Option<u64>,
    /// Print the commands that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Say on stderr at the end how many jobs ended how, how fast, and what one process would have taken
    #[arg(long, value_enum, value_name = "text|json", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub summary: Option<SummaryForm>,
    /// Stop waiting after this time (exit code 124); the jobs go on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Jobs per message, 1 to 4096 [default: as many as take about 30 ms]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=4096))]
    pub chunk: Option<u32>,
    /// What to do while the queue is full or Redis near its memory limit [default: wait]
    #[arg(long, value_enum, value_name = "fail|wait")]
    pub when_full: Option<When>,
    #[command(flatten)]
    pub common: SubmitArgs,
}

impl Exec {
    /// What to do while there is no room.
    pub fn when_full(&self) -> Option<WhenFull> {
        self.when_full.map(Into::into)
    }
}
