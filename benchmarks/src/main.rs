//! The core figures, in one run on one machine: tasks per second, CPU per task of client, workers and
//! Redis, round trips, memory of each process, requests of an idle consumer.
//!
//! `cargo build --release && target/release/gristmill-benchmarks`
//!
//! `make bench-maps`, or one of its parts:
//! `gristmill-benchmarks lines [N]`: memory of client and Redis for a stream of 10,000,000 lines.
//! `gristmill-benchmarks resume [N]`: a map of 1,000,000 items that is killed, interrupted and gone on with.
//! `gristmill-benchmarks shared`: bytes through Redis for 1 GiB of shared input, and what it costs per task.
//!
//! `make bench-recovery`, or `gristmill-benchmarks recovery`: how soon work goes on when something died.

mod fleet;
mod floor;
mod idle;
mod maps;
mod memory;
mod recovery;
mod roundtrip;
mod shared_input;
mod throughput;

use std::error::Error;
use std::process::ExitCode;

/// The kernel that all task figures use; its body lives in the stock worker.
mod kernels {
    gristmill::remote_kernel! {
        /// The square of a whole number.
        pub fn square(n: i64) -> i64 = "square";
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gristmill-benchmarks: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything that has a goal meets it.
async fn run() -> Result<bool, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        None => measure().await.map(|()| true),
        Some("floor") => floor::run().map(|()| true),
        Some("lines") => maps::lines::run(args).await,
        Some("recovery") => recovery::run(args).await,
        Some("resume") => maps::resume::run(args).await,
        Some("shared") => shared_input::run(args).await,
        Some(other) => {
            Err(format!("{other:?} is unknown: use no argument, floor, lines, recovery, resume or shared").into())
        }
    }
}

async fn measure() -> Result<(), Box<dyn Error>> {
    throughput::run().await?;
    roundtrip::run().await?;
    memory::run().await?;
    idle::run().await
}
