//! Log lines on stderr. Written by whoever logs, without threads: the supervisor may have none.

use std::io::{self, IsTerminal};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::LogFormat;

const VARIABLE: &str = "GRISTMILL_LOG";
const DEFAULT: &str = "info";

/// Starts logging for this process and all that it forks.
pub(crate) fn start(format: LogFormat) -> Result<(), String> {
    let level = std::env::var(VARIABLE).ok().filter(|level| !level.trim().is_empty());
    let level = level.unwrap_or_else(|| DEFAULT.to_owned());
    let filter = EnvFilter::try_new(&level).map_err(|error| {
        format!("{VARIABLE} is {level:?}: {error}; use for instance info, debug or gristmill_worker=trace")
    })?;
    // An error while writing to stderr cannot be told anywhere; the layer's own message would panic.
    let layer = fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let layer = match format {
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            layer.with_target(false).with_ansi(colours).boxed()
        }
    };
    // A program that has set up its own logging keeps it.
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
    Ok(())
}
