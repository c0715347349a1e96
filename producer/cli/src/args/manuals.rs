//! `gristmill completions` and `gristmill man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::{no_namespace, no_redis};

#[derive(Debug, Args)]
#[command(
    arg = no_redis(),
    arg = no_namespace(),
    after_help = "Examples:
  gristmill completions bash > ~/.local/share/bash-completion/completions/gristmill
  gristmill completions zsh > ~/.zfunc/_gristmill
  gristmill completions fish > ~/.config/fish/completions/gristmill.fish"
)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

#[derive(Debug, Args)]
#[command(
    arg = no_redis(),
    arg = no_namespace(),
    after_help = "Examples:
  gristmill man | man -l -
  gristmill man queue pause
  gristmill man --dir ~/.local/share/man/man1"
)]
pub struct Man {
    /// The command whose page is printed; without one, that of gristmill itself
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write all pages into this directory instead, one for each command
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}
