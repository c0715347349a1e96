//! A whole worker is killed: its tasks run on another one as soon as its leases have run out.
//!
//! One run takes as long as a lease, so many workers with one consumer each die in one round, each at a moment of its
//! own: the moments spread over the interval of renewals.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::beacon::{Beacons, Start};
use super::rig::{Rig, WorkerProcess, beacon};

/// More would make the machine's own load a part of the figure.
const VICTIMS_MAX: usize = 25;
const RESCUERS: usize = 4;
/// As often a lease is renewed.
const SPREAD: Duration = Duration::from_secs(3);

pub async fn measure(runs: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut times = Vec::with_capacity(runs);
    while times.len() < runs {
        let victims = (runs - times.len()).min(VICTIMS_MAX);
        times.extend(round(victims).await?);
    }
    Ok(times)
}

async fn round(count: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let rig = Rig::start().await?;
    let mut beacons = Beacons::listen()?;
    let socket = beacons.socket().to_string_lossy().into_owned();
    let mut victims = (0..count).map(|_| WorkerProcess::start(&rig, 1)).collect::<Result<Vec<_>, _>>()?;
    rig.wait_consumers(count).await?;
    let mut handles = Vec::new();
    for _ in 0..count {
        handles.push(rig.client.submit(beacon, socket.clone()).await?);
    }
    let running = beacons.wait(count).await?;
    // It comes when all tasks have an owner, so that it runs only what the dead have left.
    let _rescuer = WorkerProcess::start(&rig, RESCUERS)?;
    rig.wait_consumers(count + RESCUERS).await?;
    let killed = kill_all(&mut victims, &running).await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let again = beacons.next().await?;
        let at = killed.get(&again.task).ok_or_else(|| format!("{} was not running", again.task))?;
        times.push(again.at - *at);
        again.go().await;
    }
    for handle in handles {
        handle.result().await?;
    }
    Ok(times)
}

/// When the worker of each task was killed.
async fn kill_all(
    victims: &mut [WorkerProcess],
    running: &BTreeMap<String, Start>,
) -> Result<BTreeMap<String, Instant>, Box<dyn Error>> {
    let mut moments: Vec<_> = victims.iter().map(|_| SPREAD.mul_f64(rand::rng().random())).collect();
    moments.sort();
    let started = Instant::now();
    let mut killed = BTreeMap::new();
    for (victim, moment) in victims.iter_mut().zip(moments) {
        tokio::time::sleep(moment.saturating_sub(started.elapsed())).await;
        let task = running.values().find(|start| victim.owns(start.pid)).ok_or("a worker runs no task")?;
        killed.insert(task.task.clone(), victim.power_off());
    }
    Ok(killed)
}
