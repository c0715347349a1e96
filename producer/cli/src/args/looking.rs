//! `gristmill kernels` and `gristmill workers`.

use clap::Args;
use gristmill::shared::KernelName;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill kernels
  gristmill kernels sum_sqrt
  gristmill kernels --schema sum_sqrt
  gristmill kernels --json")]
pub struct Kernels {
    /// Show all that is known of this kernel: what it does, what it takes, what it declares
    pub kernel: Option<KernelName>,
    /// Print the JSON schema of its arguments
    #[arg(long, requires = "kernel", conflicts_with = "json")]
    pub schema: bool,
    /// Print JSON: one array of objects
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gristmill workers\n  gristmill workers --consumers\n  gristmill workers --json")]
pub struct Workers {
    /// List each consumer: its process, its memory, the task that runs in it
    #[arg(long)]
    pub consumers: bool,
    /// Print JSON: one array of objects
    #[arg(long)]
    pub json: bool,
}
