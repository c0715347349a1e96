//! The commands about queues.

use std::time::Duration;

use clap::{Args, Subcommand, value_parser};
use gristmill::shared::QueueName;

use super::submitting::Priority;
use crate::times::parse_some_time;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill queues
  gristmill queues --watch
  gristmill queues --watch --json --interval 10s >> depth.jsonl")]
pub struct Queues {
    /// Print JSON: one array of objects; with --watch, one object per line
    #[arg(long)]
    pub json: bool,
    /// Look again and again, with rates and the time until the queue is empty, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Time between two looks
    #[arg(long, value_name = "DURATION", value_parser = parse_some_time, default_value = "1s", requires = "watch")]
    pub interval: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill queue pause images
  gristmill queue limit images 100000
  gristmill queue peek images")]
pub struct Queue {
    #[command(subcommand)]
    pub command: QueueCommand,
}

#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Start nothing more from a queue; what runs goes on, and submitting works
    #[command(after_help = "Example:\n  gristmill queue pause images")]
    Pause(Named),
    /// Start tasks from a paused queue again
    #[command(after_help = "Example:\n  gristmill queue resume images")]
    Resume(Named),
    /// Limit how many messages a queue may hold
    #[command(after_help = "Examples:
  gristmill queue limit images 100000
  gristmill queue limit images none

Each lane, and the tasks that wait for their time, may hold so many messages; one message holds one task, or many of
a map. What is submitted beyond that is refused (exit code 6), or waits for room (--when-full wait).")]
    Limit(Limit),
    /// Remove what waits in a queue; its tasks end as cancelled
    #[command(after_help = "Examples:
  gristmill queue purge images
  gristmill queue purge images --lane low --yes

Running tasks go on. Tasks that wait for their time, or for a worker that knows their kernel, stay.")]
    Purge(Purge),
    /// Show what comes next in a queue
    #[command(
        after_help = "Examples:\n  gristmill queue peek images\n  gristmill queue peek images --lane high --count 3 --json"
    )]
    Peek(Peek),
}

#[derive(Debug, Args)]
pub struct Named {
    /// The queue
    pub queue: QueueName,
    /// Even if nobody has used the queue yet
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct Limit {
    #[command(flatten)]
    pub named: Named,
    /// Messages, or `none`
    #[arg(value_name = "N|none", value_parser = parse_limit)]
    pub limit: Depth,
}

/// A limit, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth(pub Option<u64>);

fn parse_limit(text: &str) -> Result<Depth, String> {
    if text == "none" {
        return Ok(Depth(None));
    }
    if text.parse() == Ok(0u64) {
        let instead = "`gristmill queue pause` starts nothing more, and `none` lifts the limit";
        return Err(format!("a queue that may hold nothing refuses every task: {instead}"));
    }
    let limit = text.parse().ok().filter(|limit| *limit <= gristmill::shared::defaults::INTEGER_MAX);
    limit.map(|limit| Depth(Some(limit))).ok_or_else(|| "use a number of messages, or none".to_owned())
}

#[derive(Debug, Args)]
pub struct Purge {
    /// The queue
    pub queue: QueueName,
    /// Only this lane
    #[arg(long, value_enum)]
    pub lane: Option<Priority>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Peek {
    /// The queue
    pub queue: QueueName,
    /// Only this lane
    #[arg(long, value_enum)]
    pub lane: Option<Priority>,
    /// At most so many messages
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = value_parser!(u64).range(1..=1_000))]
    pub count: u64,
    /// Print JSON: one array of objects
    #[arg(long)]
    pub json: bool,
}
