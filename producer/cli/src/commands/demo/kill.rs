//! A consumer is killed in the middle of a batch, and nothing is lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gristmill::shared::{ConsumerId, TaskId, defaults};
use gristmill::{ClientError, MapHandle, OutcomeKind, SubmitOptions, TaskError};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::kernels::sum_sqrt;
use super::mill::{Consumer, Mill};
use super::page::Page;
use super::sums::sum_of_roots;
use crate::exit::Exit;

/// Between two looks into Redis.
const LOOK: Duration = Duration::from_millis(2);
/// Some consumer works on a task within this time.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn run(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    let tasks = mill.scale.kill_tasks as usize * mill.consumers;
    let roots = mill.scale.roots(mill.scale.kill_task);
    page.step("A consumer is killed, and nothing is lost")?;
    page.prose(&format!(
        "{tasks} tasks of about {:.0?}. As soon as a quarter of them has come back, one of the consumers gets SIGKILL, \
         which no program can catch, in the middle of a task.",
        mill.scale.kill_task
    ))?;
    let consumers = mill.consumers_of(mill.worker_pid(), mill.consumers).await?;
    let items = vec![roots; tasks];
    let mut handle = mill.client.map_with(sum_sqrt, items, &SubmitOptions::new().chunk(1)).await?;
    let (batch, mut sums) = (handle.id(), Vec::new());
    if let Err(error) = take(&mut handle, tasks / 4, &mut sums).await {
        return page.ended("nothing lost", error);
    }
    let Some(victim) = busy(mill, &consumers).await? else {
        return page.check("nothing lost", false, "no consumer held a task while the batch ran");
    };
    page.commands(&["gristmill workers --consumers", &format!("kill -9 {}", victim.pid)])?;
    let known: BTreeSet<ConsumerId> = mill.leases().await?.into_iter().collect();
    kill(&victim)?;
    let mut watch = Watch::new(known);
    let rest = tokio::select! {
        rest = take(&mut handle, tasks, &mut sums) => rest,
        failed = watch.look(mill) => return failed,
    };
    if let Err(error) = rest {
        return page.ended("nothing lost", error);
    }
    tell(mill, page, &victim, &watch).await?;
    let expected = sum_of_roots(roots);
    let right = sums.iter().filter(|&&sum| sum == expected).count();
    let record = mill.client.batch_record(batch).await?.ok_or(ClientError::BatchGone(batch))?;
    let (succeeded, ended) = (record.count(OutcomeKind::Succeeded), record.ended());
    let found = format!(
        "{right} of {tasks} results came back right; the batch counts {succeeded} that succeeded, and {} others",
        ended - succeeded
    );
    let holds = right == tasks && sums.len() == tasks && succeeded == tasks as u64 && ended == succeeded;
    page.check("nothing lost", holds, &found)?;
    match watch.successor {
        Some((_, after)) => {
            let found = format!("another consumer had taken its place after {} ms and was at work", after.as_millis());
            page.check("successor", true, &found)
        }
        None => page.check("successor", false, "nobody took the place of the dead consumer while there was work"),
    }
}

/// Takes results until there are `count`, or all.
async fn take(handle: &mut MapHandle<f64>, count: usize, sums: &mut Vec<f64>) -> Result<(), TaskError> {
    while sums.len() < count
        && let Some(sum) = handle.next().await
    {
        sums.push(sum?);
    }
    Ok(())
}

/// A consumer in the middle of a task: one whose oldest message is the same at two looks.
async fn busy(mill: &mut Mill, consumers: &[Consumer]) -> Result<Option<Consumer>, Exit> {
    let between = mill.scale.kill_task / 4;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut before = Vec::new();
        for consumer in consumers {
            before.push(oldest(mill, consumer).await?);
        }
        tokio::time::sleep(between).await;
        for (consumer, before) in consumers.iter().zip(before) {
            if before.is_some() && oldest(mill, consumer).await? == before {
                return Ok(Some(consumer.clone()));
            }
        }
    }
    Ok(None)
}

/// Which task stands first in what a consumer holds.
async fn oldest(mill: &mut Mill, consumer: &Consumer) -> Result<Option<TaskId>, Exit> {
    let held = mill.held_by(consumer.id).await?;
    Ok(held.first().map(|header| header.batch.task(header.first)))
}

fn kill(victim: &Consumer) -> Result<(), Exit> {
    let pid = i32::try_from(victim.pid).ok().filter(|&pid| pid > 1);
    let pid = pid.ok_or_else(|| Exit::new(Exit::BUG, format!("{} is no pid of a consumer", victim.pid)))?;
    signal::kill(Pid::from_raw(pid), Signal::SIGKILL)
        .map_err(|error| Exit::new(Exit::BUG, format!("cannot kill the consumer {pid}: {error}")))
}

/// What is seen in Redis after the death.
struct Watch {
    /// Consumers that lived before.
    known: BTreeSet<ConsumerId>,
    killed: Instant,
    /// The first new consumer that holds a task, and when that was.
    successor: Option<(ConsumerId, Duration)>,
    /// Tasks that were charged with a loss: they run again.
    charged: BTreeSet<u64>,
}

impl Watch {
    fn new(known: BTreeSet<ConsumerId>) -> Self {
        Self { known, killed: Instant::now(), successor: None, charged: BTreeSet::new() }
    }

    /// Looks again and again; returns only if Redis does not answer.
    async fn look(&mut self, mill: &mut Mill) -> Result<(), Exit> {
        loop {
            for consumer in mill.leases().await? {
                let held = mill.held_by(consumer).await?;
                if self.successor.is_none() && !held.is_empty() && !self.known.contains(&consumer) {
                    self.successor = Some((consumer, self.killed.elapsed()));
                }
                let lost = held.iter().filter(|header| header.losses > 0);
                self.charged.extend(lost.flat_map(|header| header.indices()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn tell(mill: &Mill, page: &Page, victim: &Consumer, watch: &Watch) -> Result<(), Exit> {
    page.line(&format!("killed     pid {}", victim.pid))?;
    if let Some((id, after)) = watch.successor {
        let pid = mill.pid_of(mill.worker_pid(), id).await?.map_or("?".to_owned(), |pid| pid.to_string());
        page.line(&format!("successor  pid {pid}, which had its first task {} ms later", after.as_millis()))?;
    }
    let again = match watch.charged.len() {
        0 => "none: it had not begun one".to_owned(),
        n => {
            let tasks = if n == 1 { "1 task, the one that ran".to_owned() } else { format!("{n} tasks") };
            format!("{tasks}; charged as a loss, of which a task may have {}", defaults::LOSSES_MAX)
        }
    };
    page.line(&format!("ran again  {again}"))?;
    page.gap()
}
