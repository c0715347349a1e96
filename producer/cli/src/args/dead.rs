//! `gristmill dead`.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use gristmill::DeadFilter;
use gristmill::shared::{BatchId, KernelName, OutcomeKind, QueueName, TaskId};

use crate::times::parse_duration;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill dead list
  gristmill dead show 01990000-0000-7000-8000-000000000000.0
  gristmill dead retry --kernel image.thumbnail --newer-than 1h
  gristmill dead purge images --older-than 7d --yes")]
pub struct Dead {
    #[command(subcommand)]
    pub command: DeadCommand,
}

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, the latest first
    List(DeadList),
    /// Show all that is known of one dead letter
    Show(DeadShow),
    /// Take dead letters back to their queues: id and history stay, attempts begin anew
    Retry(DeadAct),
    /// Drop dead letters for good
    Purge(DeadAct),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill dead list images --reason crashed
  gristmill dead list --batch 01990000-0000-7000-8000-000000000000 --json")]
pub struct DeadList {
    /// Only of this queue
    pub queue: Option<QueueName>,
    #[command(flatten)]
    pub filters: Filters,
    /// List at most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u64,
    /// Print JSON: one array of objects
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gristmill dead show 01990000-0000-7000-8000-000000000000.0 --json")]
pub struct DeadShow {
    /// A task as <batch>.<index>, or what `dead list` shows of something unreadable
    #[arg(value_name = "ID")]
    pub id: Letter,
    /// Look only in this queue
    #[arg(long, value_name = "NAME")]
    pub queue: Option<QueueName>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill dead retry 01990000-0000-7000-8000-000000000000.0
  gristmill dead retry images --reason crashed --yes
  gristmill dead purge --all")]
pub struct DeadAct {
    /// Dead letters by their ids, or a queue: those in it that the filters leave
    #[arg(value_name = "QUEUE|ID")]
    pub targets: Vec<Target>,
    #[command(flatten)]
    pub filters: Filters,
    /// All dead letters of all queues
    #[arg(long)]
    pub all: bool,
    /// At most so many, the oldest first
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Filters {
    /// Only of this kernel
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<KernelName>,
    /// Only what ended so
    #[arg(long, value_enum, value_name = "REASON")]
    pub reason: Option<Reason>,
    /// Only of this batch
    #[arg(long, value_name = "ID")]
    pub batch: Option<BatchId>,
    /// Only what was buried longer ago
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub older_than: Option<Duration>,
    /// Only what was buried since
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub newer_than: Option<Duration>,
}

impl Filters {
    /// Whether they leave anything out.
    pub fn any(&self) -> bool {
        let Self { kernel, reason, batch, older_than, newer_than } = self;
        let times = older_than.is_some() || newer_than.is_some();
        kernel.is_some() || reason.is_some() || batch.is_some() || times
    }

    /// For the library; none of the queues: all.
    pub fn of(&self, queues: Vec<QueueName>) -> DeadFilter {
        DeadFilter {
            queues,
            kernel: self.kernel.as_ref().map(ToString::to_string),
            reason: self.reason.map(|reason| reason.as_str().to_owned()),
            batch: self.batch,
            older_than: self.older_than,
            newer_than: self.newer_than,
            latest_first: false,
        }
    }
}

/// Why a letter is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reason {
    /// The kernel returned an error or panicked
    Failed,
    /// It ran longer than its time limit
    #[value(name = "timed_out", alias = "timed-out")]
    TimedOut,
    /// It needed more memory than it may have
    #[value(name = "out_of_memory", alias = "out-of-memory")]
    OutOfMemory,
    /// Its process died by itself
    Crashed,
    /// Its process or machine was taken away
    Lost,
    /// It is no message
    Unreadable,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Failed => OutcomeKind::Failed.as_str(),
            Self::TimedOut => OutcomeKind::TimedOut.as_str(),
            Self::OutOfMemory => OutcomeKind::OutOfMemory.as_str(),
            Self::Crashed => OutcomeKind::Crashed.as_str(),
            Self::Lost => OutcomeKind::Lost.as_str(),
            Self::Unreadable => "unreadable",
        }
    }
}

/// The id of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter(pub String);

impl FromStr for Letter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(task) = text.parse::<TaskId>() {
            return Ok(Self(task.to_string()));
        }
        let is_hash = |hash: &str| hash.len() == 40 && hash.bytes().all(|c| c.is_ascii_hexdigit());
        if text.strip_prefix("unreadable.").is_some_and(is_hash) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(format!(
            "{shown:?} is no dead letter: expected a task as <batch>.<index>; `gristmill dead list` shows them"
        ))
    }
}

/// What to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One letter.
    Letter(Letter),
    /// Those of a queue.
    Queue(QueueName),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(letter) = text.parse() {
            return Ok(Self::Letter(letter));
        }
        // Its text would be a name of a queue as well.
        if text.parse::<BatchId>().is_ok() {
            return Err(format!("{text} is a batch: use --batch {text}"));
        }
        QueueName::new(text).map(Self::Queue).map_err(|error| format!("no dead letter, and no queue: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_queues_are_told_apart() {
        let batch = BatchId::new();
        let task = batch.task(3).to_string();
        assert_eq!(task.parse(), Ok(Target::Letter(Letter(task.clone()))));
        let unreadable = format!("unreadable.{}", "0a".repeat(20));
        assert_eq!(unreadable.parse(), Ok(Target::Letter(Letter(unreadable.clone()))));
        assert_eq!("images".parse(), Ok(Target::Queue(QueueName::new("images").unwrap())));
        assert!(batch.to_string().parse::<Target>().unwrap_err().contains("--batch"));
        assert!("No Queue".parse::<Target>().is_err());
        assert!("images".parse::<Letter>().is_err());
    }

    #[test]
    fn reasons_are_the_words_of_the_outcomes() {
        for kind in OutcomeKind::ALL.into_iter().filter(|kind| kind.is_dead_letter()) {
            let reason = Reason::from_str(kind.as_str(), false).unwrap();
            assert_eq!(reason.as_str(), kind.as_str());
        }
    }
}
