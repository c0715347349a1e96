//! The command line of Gristmill.
//!
//! Data goes to stdout, everything else to stderr; exit codes stand in [`exit`]. One file per command.

mod args;
mod arguments;
mod certificate;
mod commands;
mod confirm;
mod counted;
mod exit;
mod id;
mod ids;
mod input;
mod json;
mod kernel_check;
mod logging;
mod on_thread;
mod outcomes;
mod output;
mod private;
mod progress;
mod record;
mod resume;
mod running;
mod said;
mod say;
mod schema;
mod session;
mod sheet;
mod signals;
mod table;
mod times;

use std::any::Any;
use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::Cli;
use crate::exit::Exit;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        let what = exit::one_line(&payload(panic.payload()));
        say!("gristmill: this is a bug: {what}{at}; please report it with the command that you ran");
    }));
    let ended = panic::catch_unwind(AssertUnwindSafe(|| match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(error) => usage(&error),
    }));
    ended.unwrap_or_else(|_| Err(Exit::silent(Exit::BUG))).unwrap_or_else(|exit| {
        let exit = if runs_exec(std::env::args_os()) { exit.beside_counts() } else { exit };
        exit.report()
    })
}

/// Whether the command is `exec`, though nothing else on the line may be right.
fn runs_exec(args: impl IntoIterator<Item = OsString>) -> bool {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(args);
    matches.is_ok_and(|matches| matches.subcommand_name() == Some("exec"))
}

fn payload(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".to_owned())
}

/// Help and version on stdout; what is wrong with the usage in one line on stderr.
fn usage(error: &clap::Error) -> Result<ExitCode, Exit> {
    use clap::error::ErrorKind;
    let is_help = !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !is_help {
        return Err(Exit::usage(usage_line(&error.to_string())));
    }
    match error.print() {
        Err(failed) if !error.use_stderr() => Err(failed.into()),
        _ => Ok(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::USAGE))),
    }
}

/// The first paragraph of what clap has to say, and its tip, if it has one.
fn usage_line(text: &str) -> String {
    let mut paragraphs = text.split("\n\n").map(exit::one_line);
    let wrong = paragraphs.next().unwrap_or_default();
    let wrong = wrong.strip_prefix("error: ").unwrap_or(&wrong);
    let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(|tip| format!("; {tip}")));
    format!("{wrong}{}; try --help", tip.unwrap_or_default())
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
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_is_known_however_wrong_the_line_is() {
        let known = |line: &str| runs_exec(line.split(' ').map(OsString::from));
        for line in [
            "gristmill exec -- true",
            "gristmill --namespace a exec --chunk 0 -- true",
            "gristmill exec --no-such-option",
            "gristmill exec",
            "gristmill exec --grid a=1",
            "gristmill exec --grid",
        ] {
            assert!(known(line), "{line}");
        }
        for line in ["gristmill", "gristmill --exec", "gristmill submit exec", "gristmill --redis exec status x"] {
            assert!(!known(line), "{line}");
        }
    }

    #[test]
    fn usage_errors_are_one_line() {
        let line = |args: &[&str]| usage_line(&Cli::try_parse_from(args).unwrap_err().to_string());
        let id = line(&["gristmill", "status", "x"]);
        assert!(id.starts_with("invalid value 'x' for '<ID>...': ") && id.ends_with("; try --help"), "{id}");
        let tip = line(&["gristmill", "submit", "square", "--wiat"]);
        assert!(tip.contains("'--wait'") && !tip.contains('\n'), "{tip}");
    }
}
