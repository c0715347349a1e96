//! Figures for people and for programs, and where they were measured.

use std::error::Error;
use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use gristmill_embedded::find_server;
use serde_json::{Value, json};

use super::{Goal, Scenario};

/// What one scenario has shown.
pub struct Figures {
    scenario: &'static str,
    what: &'static str,
    goal: Goal,
    /// Sorted.
    times: Vec<Duration>,
}

impl Figures {
    pub const HEAD: &str = "                                                                    runs     p50 ms     p99 ms     max ms   goal";

    pub fn of(scenario: &Scenario, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { scenario: scenario.name, what: scenario.what, goal: scenario.goal, times }
    }

    /// By nearest rank: a value that was measured, never one in between.
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.times.len() * percent).div_ceil(100);
        self.times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub fn met(&self) -> bool {
        match self.goal {
            Goal::P99(goal) => self.percentile(99) <= goal,
            Goal::Max(goal) => self.percentile(100) <= goal,
        }
    }

    fn json(&self) -> Value {
        let (of, goal) = match self.goal {
            Goal::P99(goal) => ("p99", goal),
            Goal::Max(goal) => ("max", goal),
        };
        json!({
            "scenario": self.scenario,
            "what": self.what,
            "runs": self.times.len(),
            "p50_ms": ms(self.percentile(50)),
            "p99_ms": ms(self.percentile(99)),
            "max_ms": ms(self.percentile(100)),
            "goal": { "of": of, "ms": ms(goal) },
            "met": self.met(),
            "all_ms": self.times.iter().map(|&time| ms(time)).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent| ms(self.percentile(percent));
        let goal = match self.goal {
            Goal::P99(goal) => format!("p99 ≤ {}", ms(goal)),
            Goal::Max(goal) => format!("max ≤ {}", ms(goal)),
        };
        let verdict = if self.met() { "met" } else { "MISSED" };
        write!(
            f,
            "{:<66} {:>5} {:>10.1} {:>10.1} {:>10.1}   {goal}: {verdict}",
            self.what,
            self.times.len(),
            at(50),
            at(99),
            at(100)
        )
    }
}

fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

/// Where and on what.
pub struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    server: String,
    load_before: String,
    load_after: String,
}

impl Machine {
    pub fn now() -> Result<Self, Box<dyn Error>> {
        let version = Command::new(find_server()?).arg("--version").output()?;
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            server: server(&String::from_utf8_lossy(&version.stdout)),
            load_before: load(),
            load_after: String::new(),
        })
    }

    pub fn ended(&mut self) {
        self.load_after = load();
    }

    pub fn load(&self) -> &str {
        &self.load_after
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel, server, load_before, .. } = self;
        write!(f, "{cores} cores ({processor}), Linux {kernel}, {server}, AOF everysec, load {load_before}")
    }
}

/// `Redis server v=7.0.15 sha=…` without what nobody reads.
fn server(version: &str) -> String {
    let mut words = version.split_whitespace();
    let name = words.next().unwrap_or("Redis");
    let number = words.find_map(|word| word.strip_prefix("v=")).unwrap_or("?");
    format!("{name} {number}")
}

/// Of the last minute, and of the last five.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Everything in one object.
pub fn json(machine: &Machine, figures: &[Figures]) -> Value {
    json!({
        "machine": {
            "cores": machine.cores,
            "processor": machine.processor,
            "kernel": machine.kernel,
            "redis": machine.server,
            "persistence": "appendonly, everysec",
            "load_before": machine.load_before,
            "load_after": machine.load_after,
        },
        "recovery": figures.iter().map(Figures::json).collect::<Vec<_>>(),
    })
}
