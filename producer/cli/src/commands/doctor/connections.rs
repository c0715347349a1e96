//! Connections: how many fit, and what becomes of idle ones.

use super::exam::Exam;
use crate::counted::counted;
use crate::exit::Exit;

/// A consumer has one for its calls and one for its doorbells; an agent has one.
const PER_CONSUMER: u64 = 2;
const PER_AGENT: u64 = 1;
/// For producers and people, beside the workers.
const RESERVE: u64 = 32;
/// Redis may close what is silent longer than this; nothing of ours is silent for so long while it works.
const IDLE_SECONDS: u64 = 60;

pub async fn check_clients(exam: &mut Exam<'_>) -> Result<(), Exit> {
    let limit = match exam.info_number("maxclients") {
        Some(limit) => Some(limit),
        None => exam.config("maxclients").await?.and_then(|text| text.parse().ok()),
    };
    let Some(limit) = limit else {
        exam.unknown("maxclients", "how many connections it takes");
        return Ok(());
    };
    let field = |worker: &gristmill::WorkerRecord| worker.fields.get("consumers").and_then(|n| n.parse::<u64>().ok());
    let consumers: u64 = exam.workers.iter().filter_map(field).sum();
    let needed = consumers * PER_CONSUMER + exam.workers.len() as u64 * PER_AGENT;
    let connected = exam.info_number("connected_clients").unwrap_or(0);
    let found = format!("{limit}; {connected} connected, {} {needed}", need(consumers));
    let wanted = (needed + RESERVE).max(connected + RESERVE);
    let advice =
        format!("maxclients {} or more; its open files (ulimit -n) limit it, too", wanted.next_multiple_of(1000));
    if needed.max(connected) + PER_AGENT > limit {
        exam.error("maxclients", found, advice);
    } else if wanted > limit || connected * 10 > limit * 8 {
        exam.warning("maxclients", found, advice);
    } else {
        exam.ok("maxclients", found);
    }
    Ok(())
}

pub async fn check_idle(exam: &mut Exam<'_>) -> Result<(), Exit> {
    match exam.config("timeout").await?.and_then(|text| text.parse::<u64>().ok()) {
        None => exam.unknown("timeout", "when it closes idle connections"),
        Some(0) => exam.ok("timeout", "0: idle connections stay"),
        Some(seconds) if seconds >= IDLE_SECONDS => exam.ok("timeout", format!("{seconds} s")),
        Some(seconds) => {
            let found = format!("{seconds} s: connections of idle clients are closed again and again");
            exam.warning("timeout", found, format!("timeout 0, or at least {IDLE_SECONDS}"));
        }
    }
    match exam.config("tcp-keepalive").await?.and_then(|text| text.parse::<u64>().ok()) {
        None => exam.unknown("tcp-keepalive", "whether it notices dead connections"),
        Some(0) => {
            let found = "0: connections of machines that disappeared are never closed";
            exam.warning("tcp-keepalive", found, "tcp-keepalive 300");
        }
        Some(seconds) => exam.ok("tcp-keepalive", format!("{seconds} s")),
    }
    Ok(())
}

fn need(consumers: u64) -> String {
    format!("{} need{}", counted(consumers, "consumer"), if consumers == 1 { "s" } else { "" })
}
