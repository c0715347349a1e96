//! Shared input: how many bytes go through Redis for it, what it takes in client and consumers, and what it costs per
//! task besides.

use std::error::Error;
use std::time::Instant;

use gristmill::{Client, SubmitOptions};

use crate::fleet::{Fleet, cpu_us, status_kib};

mod kernels {
    gristmill::remote_kernel! {
        /// Adds up bytes of the shared input, and tells which process did.
        pub fn sum_shared(from: u64, bytes: u64) -> (u64, u32) = "shared.sum";
    }
}

const MIB: usize = 1 << 20;
/// What each task reads of it.
const SLICE: u64 = 64 << 10;
const CONSUMERS: u64 = 2;
const TASKS: u64 = 10_000;
/// Bytes through Redis for each consumer, as a share of the input.
const GOAL: f64 = 1.1;
const COST_TASKS: i64 = 20_000;

/// Measures with an input of so many MiB (1024), and returns whether the goal is met.
pub async fn run(mut args: impl Iterator<Item = String>) -> Result<bool, Box<dyn Error>> {
    let mib: usize = args.next().map_or(Ok(1024), |text| text.parse())?;
    let met = traffic(mib).await?;
    cost(mib).await?;
    Ok(met)
}

async fn traffic(mib: usize) -> Result<bool, Box<dyn Error>> {
    let bytes = noise(mib * MIB);
    let last = bytes.len() as u64 - SLICE;
    let items: Vec<(u64, u64)> = (0..TASKS).map(|n| (last * n / TASKS, SLICE)).collect();
    let expected: Vec<u64> = items.iter().map(|&(from, len)| sum(&bytes[from as usize..][..len as usize])).collect();
    let size = bytes.len() as f64;
    let fleet = Fleet::start_with(CONSUMERS, &["--test-kernels", "--shared-cache", "4GiB"]).await?;
    let client = fleet.client().await?;
    println!("{mib} MiB that cannot be packed, {TASKS} tasks, {CONSUMERS} consumers");
    let (before, own) = (Moved::now(&fleet).await?, status_mib("self", "VmHWM:")?);
    let started = Instant::now();
    let mut map = client.map_with(kernels::sum_shared, items, &SubmitOptions::new().shared_bytes(bytes)).await?;
    let mut processes = std::collections::BTreeSet::new();
    let (mut first, mut workers) = (None, String::new());
    for expected in expected {
        let (found, process) = map.next().await.ok_or("a result is missing")??;
        first.get_or_insert_with(|| started.elapsed());
        processes.insert(process);
        if found != expected {
            return Err("a task read something else than was shared".into());
        }
    }
    let elapsed = started.elapsed();
    for process in &processes {
        workers += &format!(" {} MiB", status_mib(&process.to_string(), "VmHWM:")?);
    }
    if map.next().await.is_some() {
        return Err("a result came twice".into());
    }
    let after = Moved::now(&fleet).await?;
    let (into, out) = ((after.into - before.into) as f64, (after.out - before.out) as f64);
    let (uploads, fetches) = (into / size, out / size / CONSUMERS as f64);
    println!(
        "into Redis        {:>10.1} MiB, {uploads:.4} times for all consumers (goal: at most {GOAL})",
        into / MIB as f64
    );
    println!(
        "out of Redis      {:>10.1} MiB, {fetches:.4} times for each consumer (goal: at most {GOAL})",
        out / MIB as f64
    );
    println!(
        "first result after {:>9.2} s, all after {:.2} s",
        first.unwrap_or_default().as_secs_f64(),
        elapsed.as_secs_f64()
    );
    println!("client             {:>9} MiB at most, {own} MiB of them before", status_mib("self", "VmHWM:")?);
    println!("consumers at most {workers}");
    println!("Redis              {:>9} MiB now, its input is deleted", after.used / MIB as u64);
    Ok(fetches <= GOAL && uploads <= GOAL && processes.len() as u64 == CONSUMERS)
}

/// The same small tasks with and without: what naming and checking the parts costs, in messages of one and in chunks.
async fn cost(mib: usize) -> Result<(), Box<dyn Error>> {
    println!(
        "\n{COST_TASKS} small tasks, without and with shared input of {mib} MiB (packed: nothing but its keys counts)"
    );
    println!("{:<34} {:>9} {:>14} {:>16}", "", "tasks/s", "Redis µs/task", "bytes in/task");
    let zeros = SubmitOptions::new().shared_bytes(vec![0_u8; mib * MIB]);
    for (name, chunk) in [("one task per message", Some(1)), ("chunks", None)] {
        for (what, base) in [("without", SubmitOptions::new()), ("with", zeros.clone())] {
            let fleet = Fleet::start_with(CONSUMERS, &["--test-kernels", "--shared-cache", "4GiB"]).await?;
            let client = fleet.client().await?;
            let options = SubmitOptions { chunk, ..base };
            // Uploaded and fetched before the clock starts.
            let mut warm = small(&client, &options, 1).await?;
            while warm.next().await.is_some() {}
            let mut map = small(&client, &options, COST_TASKS).await?;
            map.next().await.ok_or("a result is missing")??;
            let (before, cpu, started) = (Moved::now(&fleet).await?, cpu_us(fleet.redis_pid()), Instant::now());
            let mut rest = 1;
            while let Some(result) = map.next().await {
                result?;
                rest += 1;
            }
            let (after, elapsed) = (Moved::now(&fleet).await?, started.elapsed().as_secs_f64());
            let tasks = rest as f64;
            println!(
                "{:<34} {:>9.0} {:>14.2} {:>16.0}",
                format!("{name}, {what}"),
                tasks / elapsed,
                (cpu_us(fleet.redis_pid()) - cpu) as f64 / tasks,
                (after.into - before.into) as f64 / tasks
            );
        }
    }
    Ok(())
}

async fn small(
    client: &Client,
    options: &SubmitOptions,
    tasks: i64,
) -> Result<gristmill::MapHandle<i64>, Box<dyn Error>> {
    Ok(client.map_with(crate::kernels::square, 0..tasks, options).await?)
}

/// Bytes that went through Redis, and that it holds.
struct Moved {
    into: u64,
    out: u64,
    used: u64,
}

impl Moved {
    async fn now(fleet: &Fleet) -> Result<Self, Box<dyn Error>> {
        let mut connection = redis::Client::open(fleet.redis.url())?.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").query_async(&mut connection).await?;
        let number = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)).ok_or("a counter is missing")?;
            Ok::<u64, Box<dyn Error>>(line.trim().parse()?)
        };
        let (into, out) = (number("total_net_input_bytes:")?, number("total_net_output_bytes:")?);
        Ok(Self { into, out, used: number("used_memory:")? })
    }
}

fn status_mib(process: &str, field: &str) -> Result<u64, Box<dyn Error>> {
    Ok(status_kib(process, field)? >> 10)
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

/// Bytes that no packing makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for word in noise.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    noise
}
