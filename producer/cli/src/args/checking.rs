//! The commands that check the set-up and what stands in Redis.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill fsck
  gristmill fsck --json
  gristmill fsck --repair --yes

Safe while workers work: what moves is looked at several times, and nothing keeps Redis for more than a moment.
Exit code 0: nothing is wrong; 1: something is, or still is after --repair; 3: Redis cannot be reached.")]
pub struct Fsck {
    /// Repair what can be repaired safely
    #[arg(long)]
    pub repair: bool,
    /// Do not ask before repairing
    #[arg(long, requires = "repair")]
    pub yes: bool,
    /// Print JSON: one array of objects
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gristmill doctor
  gristmill doctor --strict --json
  gristmill doctor --defaults

Exit code 0: no error; 1: an error, or with --strict a warning; 3: Redis cannot be reached.")]
pub struct Doctor {
    /// Print every default and limit instead
    #[arg(long)]
    pub defaults: bool,
    /// Fail (exit code 1) on warnings, too
    #[arg(long)]
    pub strict: bool,
    /// Print JSON: one array of objects
    #[arg(long)]
    pub json: bool,
}
