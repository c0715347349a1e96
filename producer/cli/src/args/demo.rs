//! `gristmill demo`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(
    arg = super::no_redis(),
    after_help = "Examples:\n  gristmill demo\n  gristmill demo --quick\n  gristmill demo --worker target/debug/gristmill-worker"
)]
pub struct Demo {
    /// Smaller batches, for a slow machine or a debug build; everything is checked all the same
    #[arg(long)]
    pub quick: bool,
    /// The worker program [default: $GRISTMILL_WORKER, else gristmill-worker beside this program or on PATH]
    #[arg(long, value_name = "PATH")]
    pub worker: Option<PathBuf>,
}
