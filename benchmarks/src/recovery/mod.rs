//! How long it takes until work goes on after something died. Every figure is measured from the kill, or from
//! the first answer of the new Redis, to what a user would see: the task runs again, or a task is settled.
//!
//! `gristmill-benchmarks recovery [consumer|worker|redis]... [--runs N] [--json FILE]`

mod beacon;
mod consumer;
mod redis_back;
mod report;
mod rig;
mod worker;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use self::report::{Figures, Machine};

/// One thing that dies.
pub struct Scenario {
    name: &'static str,
    what: &'static str,
    runs: usize,
    goal: Goal,
}

/// What must hold.
#[derive(Clone, Copy)]
enum Goal {
    P99(Duration),
    Max(Duration),
}

const CONSUMER: Scenario = Scenario {
    name: "consumer",
    what: "consumer killed, all others busy: its task runs again",
    runs: 300,
    goal: Goal::P99(Duration::from_millis(100)),
};
/// The lease, and two seconds.
const WORKER: Scenario = Scenario {
    name: "worker",
    what: "whole worker killed at once, lease 10 s: its task runs elsewhere",
    runs: 100,
    goal: Goal::Max(Duration::from_secs(12)),
};
const REDIS: Scenario = Scenario {
    name: "redis",
    what: "Redis killed under load and started again: first task settled",
    runs: 100,
    goal: Goal::P99(Duration::from_secs(5)),
};

struct Options {
    wanted: Vec<String>,
    runs: Option<usize>,
    json: Option<PathBuf>,
}

/// Measures what the arguments name; whether all goals are met.
pub async fn run(args: impl Iterator<Item = String>) -> Result<bool, Box<dyn Error>> {
    let options = read(args)?;
    let mut machine = Machine::now()?;
    println!("{machine}\n\n{}", Figures::HEAD);
    let mut measured = Vec::new();
    for scenario in [CONSUMER, WORKER, REDIS] {
        if !options.wanted.is_empty() && !options.wanted.iter().any(|name| name == scenario.name) {
            continue;
        }
        let runs = options.runs.unwrap_or(scenario.runs);
        let times = match scenario.name {
            "consumer" => consumer::measure(runs).await?,
            "worker" => worker::measure(runs).await?,
            _ => redis_back::measure(runs).await?,
        };
        let figures = Figures::of(&scenario, times);
        println!("{figures}");
        measured.push(figures);
    }
    machine.ended();
    println!("\nload at the end {}", machine.load());
    if let Some(path) = options.json {
        let json = report::json(&machine, &measured);
        std::fs::write(&path, format!("{json:#}\n"))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(measured.iter().all(Figures::met))
}

fn read(mut args: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options { wanted: Vec::new(), runs: None, json: None };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--runs" => {
                let text = value()?;
                let runs = text.parse().ok().filter(|&runs| runs > 0);
                options.runs = Some(runs.ok_or(format!("--runs is {text:?}: use a number from 1"))?);
            }
            "--json" => options.json = Some(value()?.into()),
            "consumer" | "worker" | "redis" => options.wanted.push(arg),
            _ => return Err(format!("{arg:?} is unknown: use consumer, worker, redis, --runs N, --json FILE").into()),
        }
    }
    Ok(options)
}
