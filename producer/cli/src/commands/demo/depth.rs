//! A queue is a list: its depth while it drains, as redis-cli sees it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use gristmill::{BatchId, ClientError, OutcomeKind, QueueStats, SubmitOptions};
use tokio::process::Command;
use tokio::time::timeout;

use super::kernels::sum_sqrt;
use super::mill::Mill;
use super::page::{Page, number};
use crate::exit::Exit;

/// How long one of the tasks takes.
const TASK: Duration = Duration::from_millis(2);
/// Lines that are shown of the draining.
const LINES: u64 = 6;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// A redis-cli that has not answered by then never will.
const ANSWER: Duration = Duration::from_secs(30);
/// A bar of this length is a full queue.
const BAR: u64 = 20;
/// A machine of many cores drains quickly; Redis need not hold more than this for it.
const TASKS_MAX: u64 = 20_000;

pub async fn run(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    page.step("A queue is a list in Redis")?;
    let wanted = mill.scale.drain.as_secs_f64() / TASK.as_secs_f64() * mill.consumers as f64;
    let tasks = (wanted as u64).clamp(100, TASKS_MAX);
    let roots = mill.scale.roots(TASK);
    let asker = Asker::find();
    page.prose(&format!(
        "{} tasks of about {} ms are enqueued, each in a message of its own, and nobody waits for them. What has not \
         been claimed stands in a list, which anything that speaks with Redis can see; {}.",
        number(tasks),
        TASK.as_millis(),
        asker.describe()
    ))?;
    let llen = format!("redis-cli -s {} LLEN {}", mill.socket().display(), mill.depth_key());
    page.commands(&[&llen, "gristmill queues --watch"])?;
    let start = Instant::now();
    let batch = enqueue(mill, roots, tasks).await?;
    let (deepest, last) = drain(mill, page, &asker, start).await?;
    page.gap()?;
    let succeeded = succeeded(mill, batch).await?;
    let found = format!(
        "the list held {} messages and fell to 0; {} of {} tasks succeeded, and `gristmill queues` counts {} ready, {} \
         running",
        number(deepest),
        number(succeeded),
        number(tasks),
        last.ready_tasks,
        last.running_tasks
    );
    page.check("depth", deepest > 0 && succeeded == tasks, &found)
}

/// Looks until nothing waits and nothing runs; returns the depth that was seen first, and the last look.
async fn drain(mill: &mut Mill, page: &Page, asker: &Asker, start: Instant) -> Result<(u64, QueueStats), Exit> {
    let (mut deepest, mut next) = (0, u64::MAX);
    loop {
        let depth = asker.ask(mill).await?;
        let queue = mill.client.queue_stats(mill.client.queue()).await?;
        deepest = deepest.max(depth);
        let drained = depth == 0 && queue.running_tasks == 0 && queue.ready_tasks == 0;
        if depth > 0 && depth <= next || drained {
            page.line(&line(start.elapsed(), depth, deepest, &queue))?;
            // The next line is due when the list is shorter by another part.
            next = (depth.min(next)).saturating_sub(deepest.div_ceil(LINES));
        }
        if drained {
            return Ok((deepest, queue));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn enqueue(mill: &Mill, roots: u64, tasks: u64) -> Result<BatchId, Exit> {
    let options = SubmitOptions::new().chunk(1);
    let items = (0..tasks).map(move |_| roots);
    Ok(mill.client.map_with(sum_sqrt, items, &options).await?.detach().await?)
}

/// Nothing waits or runs any more, so all outcomes are recorded.
async fn succeeded(mill: &Mill, batch: BatchId) -> Result<u64, Exit> {
    let record = mill.client.batch_record(batch).await?.ok_or(ClientError::BatchGone(batch))?;
    Ok(record.count(OutcomeKind::Succeeded))
}

fn line(at: Duration, depth: u64, deepest: u64, queue: &QueueStats) -> String {
    let filled = if deepest == 0 { 0 } else { (depth * BAR).div_ceil(deepest) };
    let bar = "█".repeat(filled as usize);
    let (name, ready, running) = (&queue.name, number(queue.ready_tasks), number(queue.running_tasks));
    let (at, depth) = (at.as_secs_f64(), number(depth));
    format!("{at:4.1} s   LLEN {depth:>6}  {bar:20}  gristmill queues: {name} {ready:>6} ready {running:>3} running")
}

/// redis-cli, if it is there; else the same question on a connection of our own.
enum Asker {
    Program(PathBuf),
    Connection,
}

impl Asker {
    fn find() -> Self {
        ["redis-cli", "valkey-cli"]
            .into_iter()
            .find_map(gristmill_embedded::find_program)
            .map_or(Self::Connection, Self::Program)
    }

    fn describe(&self) -> String {
        match self {
            Self::Program(program) => {
                let name = program.file_name().unwrap_or_default().to_string_lossy();
                format!("here {name} asks")
            }
            Self::Connection => "here the demo asks by itself, since redis-cli is not installed".to_owned(),
        }
    }

    async fn ask(&self, mill: &mut Mill) -> Result<u64, Exit> {
        match self {
            Self::Program(program) => llen(program, mill.socket(), &mill.depth_key()).await,
            Self::Connection => mill.depth().await,
        }
    }
}

async fn llen(program: &Path, socket: &Path, key: &str) -> Result<u64, Exit> {
    let mut command = Command::new(program);
    command.arg("-s").arg(socket).args(["LLEN", key]).stdin(Stdio::null()).kill_on_drop(true);
    let failed = |why: String| Exit::new(Exit::REDIS, format!("{} LLEN failed: {why}", program.display()));
    let output = timeout(ANSWER, command.output()).await.map_err(|_| failed("no answer".to_owned()))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| failed(format!("it said {:?}", said.trim())))
}
