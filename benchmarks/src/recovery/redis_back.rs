//! Redis is killed while two consumers work, and started again a while later.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use gristmill::{QueueName, SubmitOptions};
use rand::RngExt;
use redis::Connection;

use super::rig::{Rig, WorkerProcess, pass};

const CONSUMERS: usize = 2;
/// Long enough that everybody has noticed and waits between two attempts.
const DOWN_MS: std::ops::Range<u64> = 100..2_000;
/// One in so many is away for longer than a lease.
const LONG_EVERY: usize = 20;
const LONG_MS: u64 = 12_000;
/// Tasks take 2 ms; a run needs a few hundred.
const ENOUGH: u64 = 5_000;
const REFILL: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_micros(200);

pub async fn measure(runs: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut rig = Rig::start().await?;
    let _worker = WorkerProcess::start(&rig, CONSUMERS)?;
    rig.wait_consumers(CONSUMERS).await?;
    let mut times = Vec::with_capacity(runs);
    for run in 1..=runs {
        refill(&rig).await?;
        let down = if run % LONG_EVERY == 0 { LONG_MS } else { rand::rng().random_range(DOWN_MS) };
        times.push(one(&mut rig, Duration::from_millis(down))?);
    }
    Ok(times)
}

async fn refill(rig: &Rig) -> Result<(), Box<dyn Error>> {
    let stats = rig.client.queue_stats(&QueueName::new("default")?).await?;
    if stats.ready_tasks < ENOUGH {
        let chunks = SubmitOptions::new().chunk(5);
        rig.client.map_with(pass, (0..REFILL).map(|_| 2), &chunks).await?.detach().await?;
    }
    Ok(())
}

/// From the first answer of the new Redis to the first task that ends there. Blocks: nobody else has anything
/// to do, and the server starts from this thread.
fn one(rig: &mut Rig, down: Duration) -> Result<Duration, Box<dyn Error>> {
    let client = redis::Client::open(rig.redis.url())?;
    // Work goes on before Redis dies.
    let mut connection = client.get_connection()?;
    let before = settled(&mut connection)?;
    wait(|| Ok((settled(&mut connection)? > before).then_some(())))?;
    rig.redis.kill();
    thread::sleep(down);
    let observer = thread::spawn(move || observe(&client).map_err(|error| error.to_string()));
    rig.redis.restart()?;
    Ok(observer.join().map_err(|_| "the observer panicked")??)
}

fn observe(client: &redis::Client) -> Result<Duration, Box<dyn Error>> {
    let (mut connection, back, before) = wait(|| {
        // Refused, or still loading its data.
        let Ok(mut connection) = client.get_connection() else { return Ok(None) };
        let Ok(before) = settled(&mut connection) else { return Ok(None) };
        Ok(Some((connection, Instant::now(), before)))
    })?;
    wait(|| Ok((settled(&mut connection)? > before).then_some(())))?;
    Ok(back.elapsed())
}

/// Tasks of the queue that have succeeded since it exists.
fn settled(connection: &mut Connection) -> redis::RedisResult<u64> {
    let count: Option<u64> = redis::cmd("HGET").arg("{gm}:queue:default").arg("succeeded_total").query(connection)?;
    Ok(count.unwrap_or(0))
}

fn wait<T>(mut ask: impl FnMut() -> Result<Option<T>, Box<dyn Error>>) -> Result<T, Box<dyn Error>> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("no task was settled within {PATIENCE:?}").into());
        }
        thread::sleep(LOOK);
    }
}
