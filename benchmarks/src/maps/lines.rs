//! `seq N | gristmill map square --unordered >/dev/null`: what client and Redis hold of a stream.
//!
//! `gristmill-benchmarks lines [N]`

use std::error::Error;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use super::{CONSUMERS, LOOK, Running, Server, items, map_square, mib, start};
use crate::fleet::Fleet;

const LINES: u64 = 10_000_000;
/// For the client.
const GOAL_KIB: u64 = 64 << 10;
/// What is held then is to be compared with what is held at the end.
const EARLY: u64 = 10;

/// The most that was held so far.
#[derive(Clone, Copy)]
struct Held {
    client: u64,
    redis: u64,
}

/// Measures with so many lines; whether the goal is met.
pub async fn run(mut args: impl Iterator<Item = String>) -> Result<bool, Box<dyn Error>> {
    let lines = items(args.next(), LINES)?;
    let (fleet, mut server) = start().await?;
    println!("seq {lines} | gristmill map square --unordered >/dev/null, {CONSUMERS} consumers");
    let idle = server.peak_kib()?;
    let started = Instant::now();
    let (early, held) = stream(&fleet, &mut server, lines)?;
    let seconds = started.elapsed().as_secs_f64();
    let tasks = server.succeeded()?;
    if tasks != lines {
        return Err(format!("{tasks} tasks have succeeded, not {lines}").into());
    }
    let met = held.client <= GOAL_KIB;
    println!("time      {seconds:>8.1} s, {:.0} lines/s", lines as f64 / seconds);
    println!(
        "client    {:>8.1} MiB at most (VmHWM), {:.1} after a tenth of the lines; goal: at most {:.0}: {}",
        mib(held.client),
        mib(early.client),
        mib(GOAL_KIB),
        if met { "met" } else { "MISSED" }
    );
    println!(
        "Redis     {:>8.1} MiB at most (used_memory_peak), {:.1} after a tenth of the lines, {:.1} before",
        mib(held.redis),
        mib(early.redis),
        mib(idle)
    );
    Ok(met)
}

/// Runs the map, and tells what was held after a tenth of it and at the end.
fn stream(fleet: &Fleet, server: &mut Server, lines: u64) -> Result<(Held, Held), Box<dyn Error>> {
    let mut seq = Running::start(Command::new("seq").arg(lines.to_string()).stdout(Stdio::piped()))?;
    let numbers = seq.0.stdout.take().ok_or("seq has no output")?;
    let mut map = Running::start(map_square(fleet)?.arg("--unordered").stdin(numbers).stdout(Stdio::null()))?;
    let (mut client, mut early) = (0, None);
    loop {
        client = map.peak_kib().unwrap_or(0).max(client);
        let ended = map.ended()?;
        if early.is_none() && (ended.is_some() || server.succeeded()? >= lines / EARLY) {
            early = Some(Held { client, redis: server.peak_kib()? });
        }
        match (ended, early) {
            (Some(status), Some(early)) if status.success() => {
                return Ok((early, Held { client, redis: server.peak_kib()? }));
            }
            (Some(status), _) => return Err(format!("the map ended with {status}").into()),
            (None, _) => thread::sleep(LOOK),
        }
    }
}
