//! How long one task takes from `submit` to its result, with nothing else to do.

use std::error::Error;
use std::time::Instant;

use crate::fleet::Fleet;
use crate::kernels::square;

const TASKS: i64 = 5_000;

pub async fn run() -> Result<(), Box<dyn Error>> {
    let fleet = Fleet::start(2).await?;
    let client = fleet.client().await?;
    let mut times_us = Vec::new();
    for n in 0..TASKS {
        let started = Instant::now();
        let value = client.submit(square, n).await?.result().await?;
        times_us.push(started.elapsed().as_micros());
        if value != n * n {
            return Err(format!("{n}² is not {value}").into());
        }
    }
    times_us.sort_unstable();
    let at = |percent: usize| times_us[(times_us.len() - 1) * percent / 100];
    println!("\nround trip of one task, {TASKS} in turn: p50 {} µs, p99 {} µs", at(50), at(99));
    Ok(())
}
