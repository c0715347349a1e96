//! What more consumers are good for.

use std::time::{Duration, Instant};

use gristmill::{QueueName, SubmitOptions, TaskError};

use super::cpu::{Cpu, idle_cores};
use super::kernels::sum_sqrt;
use super::mill::{Consumer, Mill};
use super::page::Page;
use super::sums::sum_of_roots;
use crate::exit::Exit;

/// The queue that one consumer has for itself.
const QUEUE: &str = "alone";
/// Consumers should have computed, or wanted to, for this part of the time.
const BUSY: f64 = 0.7;
/// A task is no shorter, as long as each consumer has one.
const SHORTEST: Duration = Duration::from_millis(15);
/// Below this part of the ideal speed-up the machine is said to be busy.
const IDEAL: f64 = 0.7;

pub async fn run(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    let consumers = mill.consumers;
    if consumers == 1 {
        page.step("More consumers are faster, where there are more cores")?;
        return page.prose("This machine has one core, so there is nothing to compare: two consumers would share it.");
    }
    page.step(&format!("{consumers} consumers against 1"))?;
    let work = Work::new(mill);
    page.prose(&format!(
        "The same {} tasks of about {:.0?} twice: on a queue that a second worker with one consumer serves, and on that \
         of the first worker; each half of them in turn, so that whatever else this machine does meets both.",
        2 * work.tasks,
        work.task
    ))?;
    page.commands(&[&format!("gristmill-worker --queues {QUEUE} --consumers 1")])?;
    let Some((one, all)) = both(mill, page, &work).await? else { return Ok(()) };
    page.line(&format!(" 1 consumer   {:5.2} s", one.took.as_secs_f64()))?;
    page.line(&format!("{consumers:2} consumers  {:5.2} s", all.took.as_secs_f64()))?;
    page.gap()?;
    judge(page, &one, &all, consumers)
}

/// What both have to do, two times over.
struct Work {
    tasks: usize,
    task: Duration,
    roots: u64,
    expected: f64,
}

impl Work {
    fn new(mill: &Mill) -> Self {
        // Enough of them that none at the end is waited for alone, and none so short that the way counts.
        let most = (mill.scale.speed.as_secs_f64() / SHORTEST.as_secs_f64()) as usize;
        let tasks = (mill.consumers * 10).min(most / 2).max(mill.consumers);
        let task = mill.scale.speed / (2 * tasks) as u32;
        let roots = mill.scale.roots(task);
        Self { tasks, task, roots, expected: sum_of_roots(roots) }
    }
}

/// One of the two runs.
struct Run {
    took: Duration,
    /// What the system says of the consumers, and of the cores.
    cpu: Option<Cpu>,
    idle_cores: Option<Duration>,
    right: bool,
}

/// Runs the work on both; none if a task failed, which has been said.
async fn both(mill: &mut Mill, page: &mut Page, work: &Work) -> Result<Option<(Run, Run)>, Exit> {
    let queue = QueueName::new(QUEUE).map_err(|error| Exit::new(Exit::BUG, error.to_string()))?;
    let mut worker = mill.second_worker(&queue).await?;
    let alone = mill.consumers_of(worker.pid(), 1).await?;
    let together = mill.consumers_of(mill.worker_pid(), mill.consumers).await?;
    let on_one = SubmitOptions::new().queue(queue);
    let runs = turns(mill, work, (&on_one, &alone), (&SubmitOptions::new(), &together)).await;
    worker.drain().await;
    match runs {
        Ok(runs) => Ok(Some(runs)),
        Err(error) => page.ended("speed-up", error).map(|()| None),
    }
}

type Side<'a> = (&'a SubmitOptions, &'a [Consumer]);

async fn turns(mill: &Mill, work: &Work, one: Side<'_>, all: Side<'_>) -> Result<(Run, Run), TaskError> {
    let first = (time(mill, work, one).await?, time(mill, work, all).await?);
    // The other way round, so that neither always comes first.
    let second_of_all = time(mill, work, all).await?;
    Ok((first.0.and(time(mill, work, one).await?), first.1.and(second_of_all)))
}

async fn time(mill: &Mill, work: &Work, (options, on): Side<'_>) -> Result<Run, TaskError> {
    let before = (Cpu::of(on), idle_cores());
    let start = Instant::now();
    let items = vec![work.roots; work.tasks];
    let sums = mill.client.map_with(sum_sqrt, items, &options.clone().chunk(1)).await?.collect().await?;
    let took = start.elapsed();
    let cpu = before.0.zip(Cpu::of(on)).map(|(before, after)| after.since(before));
    let idle_cores = before.1.zip(idle_cores()).map(|(before, after)| after.saturating_sub(before));
    let right = sums.len() == work.tasks && sums.iter().all(|&sum| sum == work.expected);
    Ok(Run { took, cpu, idle_cores, right })
}

/// How much faster it went depends on what else the machine does. What Gristmill answers for is that no
/// consumer was idle while a core was: it computed, it waited for a core, or there was none to be had.
fn judge(page: &mut Page, one: &Run, all: &Run, consumers: usize) -> Result<(), Exit> {
    let times = one.took.as_secs_f64() / all.took.as_secs_f64().max(1e-9);
    let right = one.right && all.right;
    let mut found = format!("{times:.2} times as fast with {consumers} consumers");
    let mut at_work = true;
    if let Some(usage) = all.usage(consumers) {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        found += &format!(
            ", which computed for {} of the time and waited for a core for {}",
            percent(usage.ran),
            percent(usage.waited)
        );
        at_work = usage.ran + usage.waited >= BUSY || usage.idle_cores < 1.0 - BUSY;
        found +=
            if at_work { "; no core was left idle" } else { "; the rest of it they had no work, and cores were idle" };
    }
    if !right {
        found += "; some sums are wrong";
    }
    page.check("speed-up", right && at_work, &found)?;
    if times < IDEAL * consumers as f64 {
        page.warn(&format!(
            "{times:.2} times is little for {consumers} consumers: other programs had the cores for a part of the time, or \
             the cores are not as many as they seem"
        ))?;
    }
    Ok(())
}

/// Parts of the time that consumers would have had with a core each.
#[derive(Debug, Clone, Copy)]
struct Usage {
    ran: f64,
    waited: f64,
    /// Of the machine's cores.
    idle_cores: f64,
}

impl Run {
    /// Both together.
    fn and(self, other: Self) -> Self {
        let sum = |(a, b): (Cpu, Cpu)| Cpu { ran: a.ran + b.ran, waited: a.waited + b.waited };
        Self {
            took: self.took + other.took,
            cpu: self.cpu.zip(other.cpu).map(sum),
            idle_cores: self.idle_cores.zip(other.idle_cores).map(|(a, b)| a + b),
            right: self.right && other.right,
        }
    }

    fn usage(&self, consumers: usize) -> Option<Usage> {
        let whole = self.took.as_secs_f64() * consumers as f64;
        let share = |time: Duration| time.as_secs_f64() / whole;
        let (cpu, idle) = (self.cpu?, self.idle_cores?);
        Some(Usage { ran: share(cpu.ran), waited: share(cpu.waited), idle_cores: share(idle) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE_FAILED: [&str; 0] = [];

    fn run(took_ms: u64, ran_ms: u64, waited_ms: u64, idle_ms: u64) -> Run {
        let ms = Duration::from_millis;
        let cpu = Some(Cpu { ran: ms(ran_ms), waited: ms(waited_ms) });
        Run { took: ms(took_ms), cpu, idle_cores: Some(ms(idle_ms)), right: true }
    }

    fn failed(all: &Run) -> Vec<&'static str> {
        let mut page = Page::new();
        judge(&mut page, &run(2_000, 2_000, 0, 0), all, 2).unwrap();
        page.failed().to_vec()
    }

    #[test]
    fn only_idle_consumers_beside_idle_cores_are_a_fault() {
        assert_eq!(failed(&run(1_000, 1_900, 50, 50)), NONE_FAILED, "as it should be");
        assert_eq!(failed(&run(2_000, 1_900, 2_000, 0)), NONE_FAILED, "others compute, too");
        assert_eq!(failed(&run(2_000, 1_900, 100, 100)), NONE_FAILED, "Redis had to wait for a core");
        assert_eq!(failed(&run(2_000, 1_900, 50, 1_950)), ["speed-up"], "one consumer did all the work");
        assert_eq!(failed(&Run { right: false, ..run(1_000, 1_900, 50, 50) }), ["speed-up"]);
        assert_eq!(failed(&Run { cpu: None, ..run(2_000, 0, 0, 0) }), NONE_FAILED, "the system does not tell");
    }
}
