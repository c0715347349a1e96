//! `gristmill demo`: what Gristmill is good for, shown with real batches, each result checked.

mod cpu;
mod depth;
mod end;
mod kernels;
mod kill;
mod mill;
mod page;
mod pi;
mod pools;
mod scale;
mod speed;
mod sums;
mod up;
mod words;

use std::time::{Duration, Instant};

use self::mill::Mill;
use self::page::Page;
use super::dev::refuse_redis;
use crate::args::{Demo, Global};
use crate::exit::Exit;
use crate::private::find_worker;
use crate::signals::Signals;

/// A step that takes longer hangs.
const STEP_MAX: Duration = Duration::from_secs(120);

/// Runs all steps; ends Redis and the worker, however that goes.
pub async fn run(global: &Global, args: Demo, signals: &mut Signals) -> Result<(), Exit> {
    refuse_redis("demo")?;
    let program = find_worker(args.worker.as_deref())?;
    let start = Instant::now();
    let mut page = Page::new();
    page.prose(
        "Gristmill is a task queue for CPU-bound work: a producer puts tasks into Redis, and on every machine a \
         worker runs them, one process per core. This demo starts a Redis and a worker of its own, runs real \
         batches, and checks every result. What stands behind a $ does the same by hand, in another terminal, while \
         `gristmill dev` runs.",
    )?;
    let started = tokio::select! {
        started = within(Mill::start(program, &global.namespace, args.quick)) => started,
        code = signals.next() => Err(Exit::silent(code)),
    };
    let mut mill = started?;
    let shown = tokio::select! {
        shown = steps(&mut mill, &mut page) => shown,
        code = signals.next() => Err(Exit::silent(code)),
    };
    mill.stop().await;
    shown?;
    end::run(&mut page, start.elapsed())
}

async fn steps(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    within(up::run(mill, page)).await?;
    within(pools::run(mill, page)).await?;
    within(pi::run(mill, page)).await?;
    within(words::run(mill, page)).await?;
    within(speed::run(mill, page)).await?;
    within(depth::run(mill, page)).await?;
    within(kill::run(mill, page)).await
}

async fn within<T>(step: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
    match tokio::time::timeout(STEP_MAX, step).await {
        Ok(ended) => ended,
        Err(_) => {
            let message = format!("this step of the demo has not ended within {} s", STEP_MAX.as_secs());
            Err(Exit::new(Exit::TASK, message))
        }
    }
}
