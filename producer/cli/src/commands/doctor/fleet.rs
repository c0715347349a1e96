//! Workers, kernels and queues, as far as they do not fit together.

use std::collections::BTreeSet;

use gristmill::WorkerRecord;
use gristmill_broker::QueueStats;

use super::exam::Exam;
use crate::counted::counted;
use crate::exit::Exit;

pub async fn check_workers(exam: &mut Exam<'_>) -> Result<(), Exit> {
    let found = exam.broker.workers(exam.conn).await;
    let workers = match exam.result(found)? {
        Ok(workers) => workers,
        Err(why) => {
            exam.error("workers", why, "see the line about rights");
            return Ok(());
        }
    };
    exam.workers = workers.into_iter().map(|(id, fields)| WorkerRecord { id, fields }).collect();
    let field = |worker: &WorkerRecord, name: &str| worker.fields.get(name).cloned().unwrap_or_default();
    let consumers: u64 = exam.workers.iter().filter_map(|worker| field(worker, "consumers").parse::<u64>().ok()).sum();
    let versions: BTreeSet<_> = exam.workers.iter().map(|worker| field(worker, "version")).collect();
    let found = format!("{} with {}", exam.workers.len(), counted(consumers, "consumer"));
    if exam.workers.is_empty() {
        exam.warning("workers", "none", "start one: gristmill-worker");
    } else if versions.len() > 1 {
        let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
        exam.warning("workers", format!("{found}, of the versions {versions}"), "bring all to one version");
    } else {
        exam.ok("workers", found);
    }
    Ok(())
}

pub async fn check_kernels(exam: &mut Exam<'_>) -> Result<(), Exit> {
    let found = exam.broker.kernels(exam.conn).await;
    match exam.result(found)? {
        Ok(kernels) if kernels.is_empty() => {
            exam.warning("kernels", "no worker has offered any in the last week", "start a worker");
        }
        Ok(kernels) => exam.ok("kernels", format!("{} offered in the last week", kernels.len())),
        Err(why) => exam.error("kernels", why, "see the line about rights"),
    }
    Ok(())
}

pub async fn check_queues(exam: &mut Exam<'_>) -> Result<(), Exit> {
    let names = exam.broker.queue_names(exam.conn).await;
    let names = match exam.result(names)? {
        Ok(names) => names,
        Err(why) => {
            exam.error("queues", why, "see the line about rights");
            return Ok(());
        }
    };
    let served: BTreeSet<String> = exam.workers.iter().flat_map(queues_of).collect();
    let (mut faults, count) = (0, names.len());
    for name in names {
        let stats = exam.broker.queue_stats(exam.conn, &name).await;
        match exam.result(stats)? {
            Ok(stats) => faults += check_queue(exam, &stats, served.contains(name.as_str())),
            Err(why) => {
                faults += 1;
                exam.error("queues", format!("{name}: {why}"), "gristmill fsck tells more");
            }
        }
    }
    if faults == 0 {
        exam.ok("queues", format!("{count} known, none paused, what waits is served"));
    }
    Ok(())
}

fn queues_of(worker: &WorkerRecord) -> Vec<String> {
    worker.fields.get("queues").map(|names| names.split(',').map(str::to_owned).collect()).unwrap_or_default()
}

fn wait(tasks: u64) -> String {
    format!("{} wait{}", counted(tasks, "task"), if tasks == 1 { "s" } else { "" })
}

/// Returns how many faults it has.
fn check_queue(exam: &mut Exam<'_>, queue: &QueueStats, served: bool) -> usize {
    let before = exam.lines.len();
    let name = &queue.name;
    let waiting = queue.ready_tasks + queue.scheduled_tasks;
    let waits = wait(waiting);
    if queue.paused {
        let advice = format!("if that is not meant so: gristmill queue resume {name}");
        exam.warning("queues", format!("{name} is paused; {waits}"), advice);
    } else if waiting > 0 && !served {
        let advice = format!("start a worker for it: gristmill-worker --queues {name}");
        exam.warning("queues", format!("{name}: {waits}, and no worker serves it"), advice);
    }
    if queue.parked_tasks > 0 {
        let whose = if queue.parked_tasks == 1 { "its" } else { "their" };
        let found = format!("{name}: {} for a worker that knows {whose} kernel", wait(queue.parked_tasks));
        exam.warning("queues", found, "start a worker with that kernel, or cancel them");
    }
    exam.lines.len() - before
}
