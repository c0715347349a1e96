//! A worker is up: its processes and its kernels.

use std::fs;

use super::mill::Mill;
use super::page::Page;
use crate::exit::Exit;

/// What the other steps call.
const NEEDED: [&str; 4] = ["monte_carlo_pi", "square", "sum_sqrt", "text.word_count"];

pub async fn run(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    page.step("A worker is up")?;
    page.prose(
        "One worker serves one machine. Its supervisor forks and watches, its agent looks after what others left \
         behind, and each consumer is a process of its own which runs one task at a time: whatever a task does to its \
         process, no other task suffers.",
    )?;
    page.gap()?;
    let supervisor = mill.worker_pid();
    let consumers = mill.consumers_of(supervisor, mill.consumers).await?;
    let agent = agent_pid(mill, supervisor).await?;
    page.line(&format!("supervisor  pid {supervisor}"))?;
    page.line(&format!("agent       pid {agent}"))?;
    for (place, consumer) in consumers.iter().enumerate() {
        page.line(&format!("consumer {place}  pid {}", consumer.pid))?;
    }
    let kernels: Vec<String> = mill.client.kernels().await?.iter().map(|kernel| kernel.name.to_string()).collect();
    page.line(&format!("kernels     {}", kernels.join(", ")))?;
    page.commands(&["gristmill-worker"])?;

    let children = consumers.iter().map(|consumer| consumer.pid).chain([agent]);
    let strays = children.filter(|&pid| parent(pid) != Some(supervisor)).count();
    let leases = mill.leases().await?;
    let leased = consumers.iter().filter(|consumer| leases.contains(&consumer.id)).count();
    let missing: Vec<_> = NEEDED.into_iter().filter(|name| !kernels.iter().any(|kernel| kernel == name)).collect();
    let found = if missing.is_empty() {
        format!(
            "the supervisor has {} children, the {leased} consumers among them hold leases in Redis, and all kernels \
             of this demo are offered",
            consumers.len() + 1 - strays
        )
    } else {
        format!("no worker offers {}", missing.join(", "))
    };
    page.check("worker", strays == 0 && leased == mill.consumers && missing.is_empty(), &found)
}

async fn agent_pid(mill: &Mill, supervisor: u32) -> Result<u32, Exit> {
    let workers = mill.client.workers().await?;
    let worker = workers.iter().find(|worker| worker.fields.get("pid") == Some(&supervisor.to_string()));
    let pid = worker.and_then(|worker| worker.fields.get("agent_pid")?.parse().ok());
    pid.ok_or_else(|| {
        Exit::new(Exit::BUG, "the worker does not say which process its agent is: is it of this version?")
    })
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
