//! Where a task is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gristmill_broker::{Located, Place};
use gristmill_shared::results::Collected;
use gristmill_shared::{ConsumerId, Outcome, OutcomeKind, TaskId};
use jiff::Timestamp;

use crate::client::Client;
use crate::consumer_line::ConsumerLine;
use crate::error::ClientError;
use crate::inspect::{Progress, WorkerRecord};

/// Where a task is, or how it ended: see [`Handle::status`](crate::Handle::status).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TaskStatus {
    /// It waits for a consumer.
    Waiting {
        /// So many messages are ahead of it in its lane; none: too many to count, or somebody moves it just now.
        ahead: Option<usize>,
        /// Which attempt this will be, from 1, where that is known.
        attempt: Option<u16>,
    },
    /// It waits for its time: because it was submitted so, or until it is tried again.
    Scheduled {
        /// Its time.
        due: SystemTime,
        /// Which attempt this will be, from 1.
        attempt: u16,
    },
    /// No worker that has met it knows its kernel.
    Parked,
    /// A consumer has it: it runs next, or it has started so lately that its worker has not told yet.
    Claimed {
        /// Which.
        consumer: ConsumerId,
        /// Which attempt this is, from 1.
        attempt: u16,
    },
    /// It runs, as its worker told last; that is up to some seconds ago.
    Running {
        /// Since when, by the clock of that machine.
        since: SystemTime,
        /// In which consumer.
        consumer: ConsumerId,
        /// On which machine.
        host: String,
        /// Which attempt this is, from 1, where that is known.
        attempt: Option<u16>,
        /// What it tells of itself.
        progress: Progress,
    },
    /// It has ended.
    Ended {
        /// How.
        kind: OutcomeKind,
        /// The attempt that ended it; only where it did not succeed.
        attempt: Option<u16>,
        /// How long that attempt ran, to within 6 %, where that is known.
        run_time: Option<Duration>,
    },
    /// It has ended, and its result was delivered to a reader who had it deleted.
    Delivered,
}

impl TaskStatus {
    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Delivered)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// Whether it has ended well.
    pub fn has_succeeded(&self) -> bool {
        matches!(self, Self::Ended { kind: OutcomeKind::Succeeded, .. })
    }
}

impl Client {
    /// Where a task is, or how it ended. An error if there is no such task.
    pub async fn task_status(&self, task: TaskId) -> Result<TaskStatus, ClientError> {
        let record = self.existing(task.batch).await?;
        if task.index >= record.tasks {
            return Err(ClientError::NoSuchTask(task));
        }
        let ended = self.collected(task).await?.map(ended);
        // A dead letter that was retried has its old outcome until it ends again.
        let revived = record.revived_at_ms.is_some() && record.total.is_some_and(|total| record.ended() < total);
        match ended {
            Some(ended) if !revived => return Ok(ended),
            _ => {}
        }
        // In this order: a task that starts meanwhile is then seen as claimed, and not as nowhere.
        let located = self.locate(task, &record).await?;
        let running = self.running(|other| other == task).await?.pop().map(|(_, running)| running);
        Ok(match (located, running, ended) {
            (Some(located), running, _) => unfinished(&located, running),
            (None, _, Some(ended)) => ended,
            (None, Some(running), None) => running,
            // It may have ended since it was looked for its outcome.
            (None, None, None) => match self.collected(task).await? {
                Some(collected) => self::ended(collected),
                None => TaskStatus::Waiting { ahead: None, attempt: None },
            },
        })
    }

    /// What workers publish of those of these tasks that run.
    pub(crate) async fn running(
        &self,
        wanted: impl Fn(TaskId) -> bool,
    ) -> Result<Vec<(TaskId, TaskStatus)>, ClientError> {
        let workers = self.workers().await?;
        let lines =
            workers.iter().flat_map(|worker| ConsumerLine::all(worker).into_iter().map(move |line| (worker, line)));
        let of = |(worker, line): (&WorkerRecord, ConsumerLine)| {
            let task: TaskId = line.text("task")?.parse().ok()?;
            if wanted(task) { Some((task, running(worker, &line)?)) } else { None }
        };
        Ok(lines.filter_map(of).collect())
    }
}

fn running(worker: &WorkerRecord, line: &ConsumerLine) -> Option<TaskStatus> {
    Some(TaskStatus::Running {
        since: line.text("started_at")?.parse::<Timestamp>().ok()?.into(),
        consumer: line.id.parse().ok()?,
        host: worker.fields.get("host").cloned().unwrap_or_default(),
        attempt: None,
        progress: Progress::read(line),
    })
}

fn ended(collected: Collected) -> TaskStatus {
    match collected {
        Collected::Delivered => TaskStatus::Delivered,
        Collected::Outcome(outcome, time) => TaskStatus::Ended {
            kind: outcome.kind(),
            attempt: match &outcome {
                Outcome::Bad(_, failure) => Some(failure.attempt),
                Outcome::Value(_) | Outcome::Blob(_) => None,
            },
            run_time: time.duration(),
        },
    }
}

/// What a worker publishes is up to some seconds old; where the message stands is true now.
fn unfinished(located: &Located, running: Option<TaskStatus>) -> TaskStatus {
    let attempt = located.message.header.attempt;
    match (&located.place, running) {
        (Place::Claimed(holder), Some(TaskStatus::Running { since, consumer, host, progress, .. }))
            if *holder == consumer =>
        {
            TaskStatus::Running { since, consumer, host, attempt: Some(attempt), progress }
        }
        (Place::Claimed(consumer), _) => TaskStatus::Claimed { consumer: *consumer, attempt },
        (Place::Ready(_, ahead), _) => TaskStatus::Waiting { ahead: Some(*ahead), attempt: Some(attempt) },
        (Place::Scheduled(due_ms), _) => {
            TaskStatus::Scheduled { due: UNIX_EPOCH + Duration::from_millis(*due_ms), attempt }
        }
        (Place::Parked, _) => TaskStatus::Parked,
    }
}
