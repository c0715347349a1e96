//! What more consumers are good for.

use std::time::{Duration, Instant};

use gristmill::{QueueName, SubmitOptions, TaskError};

use super::cpu::Cpu;
use super::kernels::sum_sqrt;
use super::mill::{Consumer, Mill};
use super::page::Page;
use super::sums::sum_of_roots;
use crate::exit::Exit;

/// The queue that one consumer has for itself.
const QUEUE: &str = "alone";
/// Consumers must have wanted to compute for this part of the time: Gristmill keeps them at work.
const BUSY: f64 = 0.7;
/// Below this part of the ideal speed-up the machine is said to be busy.
const IDEAL: f64 = 0.7;

pub async fn run(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    let consumers = mill.consumers;
    page.step(&format!("{consumers} consumers against 1"))?;
    if consumers == 1 {
        page.prose("This machine has one core, so there is nothing to compare: more consumers would share it.")?;
        return page.gap();
    }
    let work = Work::new(mill);
    page.prose(&format!(
        "The same {} tasks of about {:.0?} twice: first on a queue that a second worker with one consumer serves, then \
         on that of the first worker.",
        work.tasks, work.task
    ))?;
    page.commands(&[&format!("gristmill-worker --queues {QUEUE} --consumers 1")])?;
    let Some((one, all)) = both(mill, page, &work).await? else { return Ok(()) };
    page.line(&format!(" 1 consumer   {:5.2} s", one.took.as_secs_f64()))?;
    page.line(&format!("{consumers:2} consumers  {:5.2} s", all.took.as_secs_f64()))?;
    page.gap()?;
    judge(page, &one, &all, consumers)
}

/// What both have to do.
struct Work {
    tasks: usize,
    task: Duration,
    roots: u64,
    expected: f64,
}

impl Work {
    fn new(mill: &Mill) -> Self {
        // Enough of them that none at the end is waited for alone.
        let tasks = (mill.consumers * 20).clamp(60, 1_000);
        let task = mill.scale.speed / tasks as u32;
        let roots = mill.scale.roots(task);
        Self { tasks, task, roots, expected: sum_of_roots(roots) }
    }
}

/// One of the two runs.
struct Run {
    took: Duration,
    /// What the system says of the consumers.
    cpu: Option<Cpu>,
    right: bool,
}

/// Runs the work on both; none if a task failed, which has been said.
async fn both(mill: &mut Mill, page: &mut Page, work: &Work) -> Result<Option<(Run, Run)>, Exit> {
    let queue = QueueName::new(QUEUE).map_err(|error| Exit::new(Exit::BUG, error.to_string()))?;
    let mut worker = mill.second_worker(&queue).await?;
    let alone = mill.consumers_of(worker.pid(), 1).await?;
    let one = time(mill, work, &SubmitOptions::new().queue(queue), &alone).await;
    worker.drain().await;
    let one = match one {
        Ok(run) => run,
        Err(error) => return page.ended("speed-up", error).map(|()| None),
    };
    let together = mill.consumers_of(mill.worker_pid(), mill.consumers).await?;
    match time(mill, work, &SubmitOptions::new(), &together).await {
        Ok(all) => Ok(Some((one, all))),
        Err(error) => page.ended("speed-up", error).map(|()| None),
    }
}

async fn time(mill: &Mill, work: &Work, options: &SubmitOptions, on: &[Consumer]) -> Result<Run, TaskError> {
    let before = Cpu::of(on);
    let start = Instant::now();
    let items = vec![work.roots; work.tasks];
    let sums = mill.client.map_with(sum_sqrt, items, &options.clone().chunk(1)).await?.collect().await?;
    let took = start.elapsed();
    let cpu = before.zip(Cpu::of(on)).map(|(before, after)| after.since(before));
    let right = sums.len() == work.tasks && sums.iter().all(|&sum| sum == work.expected);
    Ok(Run { took, cpu, right })
}

/// How much faster it went depends on what else the machine does. What Gristmill answers for is that no
/// consumer was idle while there was work: it ran, or it waited for a core.
fn judge(page: &mut Page, one: &Run, all: &Run, consumers: usize) -> Result<(), Exit> {
    let times = one.took.as_secs_f64() / all.took.as_secs_f64().max(1e-9);
    let right = one.right && all.right;
    let wrong = if right { "" } else { "; some sums are wrong" };
    let whole = all.took.as_secs_f64() * consumers as f64;
    let Some(cpu) = all.cpu else {
        return page.check("speed-up", right, &format!("{times:.2} times as fast with {consumers} consumers{wrong}"));
    };
    let (ran, waited) = (cpu.ran.as_secs_f64() / whole, cpu.waited.as_secs_f64() / whole);
    let busy = ran + waited >= BUSY;
    let idle = if busy { "; they were never short of work" } else { "; the rest of it they had no work" };
    let found = format!(
        "{times:.2} times as fast with {consumers} consumers, which computed for {:.0} % of the time and waited for a \
         core for {:.0} %{idle}{wrong}",
        100.0 * ran,
        100.0 * waited
    );
    page.check("speed-up", right && busy, &found)?;
    if times < IDEAL * consumers as f64 {
        page.warn(&format!(
            "{times:.2} times is little for {consumers} consumers: other programs had the cores for a part of the time, or \
             the cores are not as many as they seem"
        ))?;
    }
    Ok(())
}
