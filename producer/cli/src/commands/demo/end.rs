//! What was verified, and what to read next.

use std::time::Duration;

use super::page::Page;
use crate::exit::Exit;

/// Where to go on.
const NEXT: [(&str, &str); 4] = [
    ("gristmill dev", "the same Redis and worker until Ctrl-C, for the commands above"),
    ("gristmill --help", "everything else that can be done from a shell"),
    ("README.md", "a kernel of your own in ten lines; workers on several machines"),
    ("docs/delivery.md", "what is promised when processes, machines or Redis fail"),
];

pub fn run(page: &mut Page, took: Duration) -> Result<(), Exit> {
    let (held, failed) = (page.held().len(), page.failed().len());
    page.step("That was all")?;
    page.prose(&format!("{held} of {} checks held: {}.", held + failed, page.held().join(", ")))?;
    page.prose(&format!(
        "It took {:.0} seconds. Redis and the worker have ended, and nothing is left behind. To go on:",
        took.as_secs_f64()
    ))?;
    page.gap()?;
    for (what, about) in NEXT {
        page.line(&format!("{what:18}{about}"))?;
    }
    if failed == 0 {
        return Ok(());
    }
    let names = page.failed().join(", ");
    Err(Exit::new(Exit::TASK, format!("{failed} of {} checks of the demo failed: {names}", held + failed)))
}
