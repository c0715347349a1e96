//! The command line of Gristmill.
//!
//! Data goes to stdout, everything else to stderr; exit codes stand in [`exit`]. One file per command.

mod args;
mod commands;
mod exit;
mod id;
mod input;
mod json;
mod kernel_check;
mod logging;
mod record;
mod say;
mod session;
mod signals;
mod table;
mod times;

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::exit::Exit;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        let what = exit::one_line(&payload(panic.payload()));
        say!("gristmill: this is a bug: {what}{at}; please report it with the command that you ran");
    }));
    let ended = panic::catch_unwind(AssertUnwindSafe(|| match Cli::try_parse() {
        Ok(cli) => run(cli).unwrap_or_else(Exit::report),
        Err(error) => usage(&error),
    }));
    ended.unwrap_or(ExitCode::from(Exit::BUG))
}

fn payload(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".to_owned())
}

/// Help and version on stdout, anything else on stderr.
fn usage(error: &clap::Error) -> ExitCode {
    match error.print() {
        Err(failed) if !error.use_stderr() => Exit::from(failed).report(),
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::USAGE)),
    }
}

fn run(cli: Cli) -> Result<ExitCode, Exit> {
    logging::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::new(Exit::BUG, format!("cannot start the runtime: {error}")))?;
    let ended = runtime.block_on(commands::run(cli));
    // A thread that waits for stdin would keep the process alive.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}
