//! Many small tasks whose results are added up: π from random points.

use std::collections::HashSet;
use std::f64::consts::PI;
use std::time::{Duration, Instant};

use gristmill::{MapHandle, TaskError};

use super::kernels::{Hits, monte_carlo_pi};
use super::mill::Mill;
use super::page::{Page, number};
use crate::exit::Exit;
use crate::progress::Progress;

/// Standard deviation of 4 × (1 if a point lies in the quarter circle, else 0): √(π (4 − π)).
const DEVIATION: f64 = 1.642_048;
/// A right estimate is further away than this once in two million runs.
const TOLERANCE: f64 = 5.0;

pub async fn run(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    let (tasks, samples) = (mill.scale.pi_tasks, mill.scale.pi_samples);
    page.step(&format!("{} small tasks", number(tasks)))?;
    page.prose(&format!(
        "Each task throws {} random points at a square and counts those inside the circle; each has a seed of its own, \
         so no two tasks throw the same ones. The counts are added up here. Tasks this small travel many to a \
         message; how many is measured while the batch runs.",
        number(samples)
    ))?;
    page.commands(&[&format!("seq {tasks} | sed 's/.*/[{samples}, &]/' | gristmill map monte_carlo_pi")])?;
    let start = Instant::now();
    let handle = mill.client.map(monte_carlo_pi, (1..=tasks).map(move |seed| (samples, seed))).await?;
    let sum = match add_up(handle, tasks).await {
        Ok(sum) => sum,
        Err(error) => return page.ended("monte_carlo_pi", error),
    };
    check(page, &sum, tasks, samples, start.elapsed())
}

/// What all tasks found together.
#[derive(Default)]
struct Sum {
    results: u64,
    samples: u64,
    hits: u64,
    /// Different counts among all results: equal seeds would show.
    different: HashSet<u64>,
}

async fn add_up(mut handle: MapHandle<Hits>, tasks: u64) -> Result<Sum, TaskError> {
    let bar = Progress::counting("tasks");
    bar.set_total(tasks);
    let mut sum = Sum::default();
    while let Some(hits) = handle.next().await {
        let Hits { samples, hits } = hits?;
        sum.results += 1;
        sum.samples += samples;
        sum.hits = sum.hits.saturating_add(hits);
        sum.different.insert(hits);
        bar.set(sum.results);
    }
    Ok(sum)
}

fn check(page: &mut Page, sum: &Sum, tasks: u64, samples: u64, took: Duration) -> Result<(), Exit> {
    let estimate = 4.0 * sum.hits as f64 / sum.samples as f64;
    let error = (estimate - PI).abs();
    let standard_error = DEVIATION / (sum.samples as f64).sqrt();
    let complete = sum.results == tasks && sum.samples == tasks.saturating_mul(samples);
    let found = format!(
        "{} results of {} points each make π ≈ {estimate:.6}; that is {error:.6} off, {:.1} times the standard error of \
         {standard_error:.6} ({TOLERANCE} are tolerated)",
        number(sum.results),
        number(samples),
        error / standard_error
    );
    let holds = complete && sum.different.len() > 1 && error <= TOLERANCE * standard_error;
    page.check("monte_carlo_pi", holds, &found)?;
    let rate = sum.results as f64 / took.as_secs_f64();
    page.line(&format!("{:.1} s, {} tasks per second", took.as_secs_f64(), number(rate as u64)))
}
