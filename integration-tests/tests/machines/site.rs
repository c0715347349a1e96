//! A Redis host and two machines for workers, whose tasks write down where they ran and wait at a gate.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use gristmill::{BatchId, Client, SubmitOptions};
use gristmill_integration_tests::{Cli, DeployedRedis, Machine, Network, WorkerOptions, WorkerProcess, binaries};
use serde_json::Value;
use tempfile::TempDir;

pub const REDIS: &str = "store";
pub const A: &str = "mill-a";
pub const B: &str = "mill-b";
/// Consumers of each worker.
pub const CONSUMERS: usize = 2;

gristmill::remote_kernel! {
    /// `visit` of the odd worker.
    pub fn visit(number: u64, free: u64) -> String = "visit";
}

/// Everything that a test needs. Workers stand before it, so that they end first.
pub struct Site {
    pub redis: DeployedRedis,
    pub cli: Cli,
    directory: TempDir,
    network: Network,
}

impl Site {
    /// None where we may not make machines. All gates are shut.
    pub fn new() -> Option<Self> {
        let network = Network::new(&[REDIS, A, B])?;
        let redis = DeployedRedis::on(network.machine(REDIS));
        let cli = Cli::at(&redis.local_url());
        let site = Self { redis, cli, directory: tempfile::tempdir().unwrap(), network };
        site.shut(A);
        site.shut(B);
        Some(site)
    }

    pub fn machine(&self, host: &str) -> &Machine {
        self.network.machine(host)
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.redis.local_url()).await.unwrap()
    }

    /// A worker on a machine, which reaches Redis by TCP.
    pub fn worker(&self, host: &str, lease: &str) -> WorkerProcess {
        WorkerOptions::new()
            .program(binaries::find("odd-worker"))
            .on(self.machine(host))
            .consumers(CONSUMERS)
            .arg(&format!("--lease {lease}"))
            .variable("VISITS", self.visits_file().to_str().unwrap())
            .variable("GATE", self.directory.path().join("gate").to_str().unwrap())
            .start_at(&self.redis.url())
    }

    /// A batch whose tasks wait at the gates, but for the first ones. All of it is in Redis.
    pub async fn batch(&self, client: &Client, tasks: u64, free: u64) -> BatchId {
        let one_each = SubmitOptions::new().chunk(1);
        let map = client.map_with(visit, (0..tasks).map(move |number| (number, free)), &one_each).await.unwrap();
        map.detach().await.unwrap()
    }

    /// Tasks on this machine wait from now on.
    pub fn shut(&self, host: &str) {
        fs::write(self.gate(host), "").unwrap();
    }

    /// Lets the tasks of a machine go on.
    pub fn open(&self, host: &str) {
        fs::remove_file(self.gate(host)).unwrap();
    }

    /// Which tasks ran on which machine, one entry for each execution.
    pub fn visits(&self) -> BTreeMap<u64, Vec<String>> {
        let mut visits: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for line in fs::read_to_string(self.visits_file()).unwrap_or_default().lines() {
            let (number, host) = line.split_once(' ').unwrap();
            visits.entry(number.parse().unwrap()).or_default().push(host.to_owned());
        }
        visits
    }

    /// Forgets them.
    pub fn forget_visits(&self) {
        fs::remove_file(self.visits_file()).unwrap();
    }

    /// What a listing shows, one object per line.
    pub fn listing(&self, command: &str) -> Vec<Value> {
        serde_json::from_str(&self.cli.run(&[command, "--json"]).ok()).expect("one array of objects")
    }

    /// Hosts of the workers with the number of their running tasks, by host.
    pub fn workers(&self) -> Vec<(String, u64)> {
        let workers = self.listing("workers");
        let mut found: Vec<_> = workers
            .iter()
            .map(|worker| {
                assert_eq!(worker["consumers"], CONSUMERS);
                (worker["host"].as_str().unwrap().to_owned(), worker["running_tasks"].as_u64().unwrap())
            })
            .collect();
        found.sort();
        found
    }

    /// Ready, running and succeeded tasks of the queue `default`.
    pub fn queue(&self) -> (u64, u64, u64) {
        let queues = self.listing("queues");
        let queue = queues.iter().find(|queue| queue["queue"] == "default").expect("the queue has been used");
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        (number(&queue["ready_tasks"]), number(&queue["running_tasks"]), number(&queue["totals"]["succeeded"]))
    }

    fn gate(&self, host: &str) -> PathBuf {
        self.directory.path().join(format!("gate.{host}"))
    }

    fn visits_file(&self) -> PathBuf {
        self.directory.path().join("visits")
    }
}
