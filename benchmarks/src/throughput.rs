//! Tasks per second end to end, with every result collected and compared, and the CPU that they cost.

use std::error::Error;
use std::time::{Duration, Instant};

use futures::StreamExt;
use gristmill::{Client, SubmitOptions};

use crate::fleet::{Fleet, cpu_us};
use crate::kernels::square;

const TASKS: i64 = 200_000;
const RUNS: usize = 3;
/// Submissions on their way at once.
const CONCURRENT: usize = 512;

pub async fn run() -> Result<(), Box<dyn Error>> {
    println!("{TASKS} square tasks, 2 consumers, {RUNS} runs each, results collected and compared");
    println!("{:<34} {:>9} {:>22}", "", "", "CPU µs per task");
    println!("{:<34} {:>9} {:>7} {:>7} {:>7}", "", "tasks/s", "client", "worker", "redis");
    for _ in 0..RUNS {
        report("one message per task, one batch", |client| Box::pin(one_batch(client, Some(1)))).await?;
        report("chunks, one batch", |client| Box::pin(one_batch(client, None))).await?;
        report("batches of one, 512 at once", |client| Box::pin(singles(client))).await?;
    }
    Ok(())
}

type Work = std::pin::Pin<Box<dyn Future<Output = Result<(), Box<dyn Error>>>>>;

async fn report(name: &str, work: impl Fn(Client) -> Work) -> Result<(), Box<dyn Error>> {
    let fleet = Fleet::start(2).await?;
    let client = fleet.client().await?;
    let worker = || fleet.worker_pids().into_iter().map(cpu_us).sum::<u64>();
    let own = std::process::id();
    let before = (cpu_us(own), worker(), cpu_us(fleet.redis_pid()));
    let started = Instant::now();
    work(client).await?;
    let elapsed = started.elapsed();
    let after = (cpu_us(own), worker(), cpu_us(fleet.redis_pid()));
    let each = |from: u64, to: u64| (to - from) as f64 / TASKS as f64;
    println!(
        "{name:<34} {:>9.0} {:>7.2} {:>7.2} {:>7.2}",
        per_second(elapsed),
        each(before.0, after.0),
        each(before.1, after.1),
        each(before.2, after.2)
    );
    Ok(())
}

fn per_second(elapsed: Duration) -> f64 {
    TASKS as f64 / elapsed.as_secs_f64()
}

async fn one_batch(client: Client, chunk: Option<u32>) -> Result<(), Box<dyn Error>> {
    let options = SubmitOptions { chunk, ..SubmitOptions::default() };
    let mut results = client.map_with(square, 0..TASKS, &options).await?.unordered();
    let mut seen = 0;
    while let Some((index, value)) = results.next().await {
        let index = index as i64;
        if value? != index * index {
            return Err(format!("task {index} has the wrong value").into());
        }
        seen += 1;
    }
    if seen == TASKS { Ok(()) } else { Err(format!("{seen} of {TASKS} results arrived").into()) }
}

async fn singles(client: Client) -> Result<(), Box<dyn Error>> {
    let mut submissions = futures::stream::iter(0..TASKS)
        .map(|n| {
            let client = client.clone();
            async move {
                let value = client.submit(square, n).await?.result().await?;
                if value == n * n { Ok(()) } else { Err::<(), Box<dyn Error>>(format!("{n}² is not {value}").into()) }
            }
        })
        .buffer_unordered(CONCURRENT);
    while let Some(outcome) = submissions.next().await {
        outcome?;
    }
    Ok(())
}
