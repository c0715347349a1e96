//! Logs go to stderr: filtered by `GRISTMILL_LOG`, as JSON with `GRISTMILL_LOG_FORMAT=json`.

use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::exit::Exit;

/// Where a line goes. On a terminal it takes the place of a progress line, which is drawn again below it.
fn line() -> std::io::Stderr {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = stderr.write_all(b"\r\x1b[2K");
    }
    stderr
}

/// Starts logging.
pub fn start() -> Result<(), Exit> {
    let filter = match std::env::var("GRISTMILL_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter)
            .map_err(|error| Exit::usage(format!("GRISTMILL_LOG={filter:?} is no log filter: {error}")))?,
        _ => EnvFilter::new("warn"),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(line);
    match std::env::var("GRISTMILL_LOG_FORMAT").as_deref() {
        Ok("json") => builder.json().flatten_event(true).init(),
        Ok("") | Ok("text") | Err(_) => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        Ok(other) => return Err(Exit::usage(format!("GRISTMILL_LOG_FORMAT={other:?}: use text or json"))),
    }
    Ok(())
}
