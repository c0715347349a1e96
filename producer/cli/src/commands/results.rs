//! `gristmill results`.

mod printer;

use std::time::Duration;

use futures::FutureExt;
use gristmill::shared::duration::{FOREVER, from_now};
use gristmill::shared::{BatchId, TaskId};
use gristmill::{Client, ClientError, OrderedResults, Results as Present, TaskError};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use self::printer::Printer;
use crate::args::{Global, Results};
use crate::counted::counted;
use crate::exit::Exit;
use crate::id::Id;
use crate::running::Running;
use crate::{ids, say, session};

/// How often somebody who watches is told anew how many tasks there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

pub async fn run(global: &Global, args: Results) -> Result<(), Exit> {
    let all = ids::all(&args.ids).await?;
    let client = session::connect(global).await?;
    let mut printer = Printer::new(&args)?;
    let deadline = Instant::from(from_now(args.timeout.unwrap_or(FOREVER)));
    let collecting = collect_all(&client, &all, args.wait, &mut printer);
    let Ok(collected) = timeout_at(deadline, collecting).await else {
        printer.end()?;
        let what = match all[..] {
            [Id::Batch(batch)] => format!("the batch {batch} has not finished in time; it goes on"),
            [Id::Task(task)] => format!("{task} has not ended in time; it goes on"),
            _ => "not all of it has ended in time; the rest goes on".to_owned(),
        };
        return Err(Exit::new(Exit::TIMEOUT, what));
    };
    printer.end()?;
    collected?;
    let Some(failed) = printer.summary() else { return Ok(()) };
    for id in &all {
        if let Some(error) = client.over_budget(id.batch()).await? {
            return Err(error.into());
        }
    }
    Err(Exit::new(Exit::TASK, failed))
}

/// One id that is wrong does not keep the results of others back; it is told at the end.
async fn collect_all(client: &Client, all: &[Id], wait: bool, printer: &mut Printer) -> Result<(), Exit> {
    let mut first = Ok(());
    for id in all {
        let collected = match *id {
            Id::Batch(batch) => collect(client, batch, wait, printer).await,
            Id::Task(task) => collect_task(client, task, wait, printer).await,
        };
        match collected {
            Err(error) if error.code() == Exit::UNKNOWN && all.len() > 1 => first = first.and(Err(error)),
            collected => collected?,
        }
    }
    first
}

async fn collect(client: &Client, batch: BatchId, wait: bool, printer: &mut Printer) -> Result<(), Exit> {
    let mut stream = if wait {
        Stream::InOrder(client.results_in_order(batch))
    } else {
        Stream::Present(client.results_present(batch))
    };
    let before = printer.printed();
    let mut running = Running::new(client, batch);
    let (mut looks, mut ticks) = (interval(LOOK_EVERY), interval(PROGRESS_EVERY));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let item = match stream.next().now_or_never() {
            Some(item) => item,
            None => {
                // Whoever reads shall not wait for results that are here already.
                printer.flush()?;
                tokio::select! {
                    biased;
                    item = stream.next() => item,
                    _ = looks.tick(), if printer.is_seen() => {
                        show_total(client, batch, printer).await?;
                        continue;
                    }
                    _ = ticks.tick(), if printer.is_seen() => {
                        printer.show(&mut running);
                        continue;
                    }
                }
            }
        };
        match item.transpose()? {
            Some((index, result)) => printer.print(batch.task(index), result)?,
            None => break,
        }
    }
    if wait {
        return Ok(());
    }
    let printed = printer.printed() - before;
    if let Some(record) = client.batch_record(batch).await?
        && record.tasks > printed
    {
        say!(
            "gristmill: {} of {} not ended yet; --wait waits for them",
            record.tasks - printed,
            counted(record.tasks, "task") + if record.tasks == 1 { " has" } else { " have" },
        );
    }
    Ok(())
}

async fn collect_task(client: &Client, task: TaskId, wait: bool, printer: &mut Printer) -> Result<(), Exit> {
    let result = match client.result_present(task).await? {
        None if wait => {
            printer.flush()?;
            client.raw_handle(task).result().await
        }
        None => {
            // A task that nobody knows has no result either.
            client.task_status(task).await?;
            say!("gristmill: {task} has not ended yet; --wait waits for it");
            return Ok(());
        }
        Some(result) => result,
    };
    match result {
        Err(TaskError::Client(error)) => Err(error.into()),
        result => printer.print(task, result),
    }
}

/// Results of one batch, in the order of its tasks.
enum Stream {
    Present(Present),
    InOrder(OrderedResults),
}

impl Stream {
    async fn next(&mut self) -> Option<Result<(u64, Result<Vec<u8>, TaskError>), ClientError>> {
        match self {
            Self::Present(results) => results.next().await,
            Self::InOrder(results) => results.next().await,
        }
    }
}

/// An open batch may still grow; how many tasks it will have is not known before it is sealed.
async fn show_total(client: &Client, batch: BatchId, printer: &Printer) -> Result<(), Exit> {
    if let Some(total) = client.batch_record(batch).await?.and_then(|record| record.total) {
        printer.set_total(total);
    }
    Ok(())
}
