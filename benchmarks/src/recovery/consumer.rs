//! A consumer is killed while every other one is busy: its task has to wait for the successor.

use std::error::Error;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::beacon::Beacons;
use super::rig::{Rig, WorkerProcess, beacon, signal};

const CONSUMERS: usize = 2;

pub async fn measure(runs: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let rig = Rig::start().await?;
    let _worker = WorkerProcess::start(&rig, CONSUMERS)?;
    rig.wait_consumers(CONSUMERS).await?;
    let mut beacons = Beacons::listen()?;
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        times.push(one(&rig, &mut beacons).await?);
    }
    Ok(times)
}

async fn one(rig: &Rig, beacons: &mut Beacons) -> Result<Duration, Box<dyn Error>> {
    let socket = beacons.socket().to_string_lossy().into_owned();
    let mut handles = Vec::new();
    for _ in 0..CONSUMERS {
        handles.push(rig.client.submit(beacon, socket.clone()).await?);
    }
    let mut running = beacons.wait(CONSUMERS).await?;
    let (_, victim) = running.pop_first().ok_or("nothing runs")?;
    let killed = Instant::now();
    signal(victim.pid, Signal::SIGKILL);
    let again = beacons.next().await?;
    if again.task != victim.task || again.pid == victim.pid {
        return Err(format!("{} started instead of {}", again.task, victim.task).into());
    }
    let took = again.at - killed;
    again.go().await;
    for (_, start) in running {
        start.go().await;
    }
    for handle in handles {
        handle.result().await?;
    }
    Ok(took)
}
