//! Proportional set size of each process of a worker: shared pages count by their share.

use std::error::Error;
use std::fs;

use crate::fleet::Fleet;

pub async fn run() -> Result<(), Box<dyn Error>> {
    let fleet = Fleet::start(2).await?;
    println!("\nPSS of one worker with 2 consumers");
    for (i, pid) in fleet.worker_pids().into_iter().enumerate() {
        let role = if i == 0 {
            "supervisor"
        } else if is_agent(pid) {
            "agent"
        } else {
            "consumer"
        };
        println!("{role:<12} {:>7} KiB", pss_kib(pid)?);
    }
    Ok(())
}

/// Consumers raise their oom_score_adj, the agent does not.
fn is_agent(pid: u32) -> bool {
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap_or_default();
    score.trim().parse::<i32>().is_ok_and(|score| score <= 0)
}

fn pss_kib(pid: u32) -> Result<u64, Box<dyn Error>> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("smaps_rollup has no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
