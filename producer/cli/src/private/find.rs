//! Where the worker program is.

use std::env;
use std::path::{Path, PathBuf};

use gristmill_embedded::{find_program, is_program};

use crate::exit::Exit;

const NAME: &str = "gristmill-worker";
const VARIABLE: &str = "GRISTMILL_WORKER";

/// A worker program, and who named it.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// The option or variable that names it; none: it was found.
    pub by: Option<&'static str>,
}

/// The worker program: what was asked for, else what `GRISTMILL_WORKER` names, else the one beside this
/// program, else the first on `PATH`.
pub fn find_worker(asked: Option<&Path>) -> Result<Program, Exit> {
    if let Some(path) = asked {
        return named("--worker", path);
    }
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return named(VARIABLE, Path::new(&path));
    }
    let beside = env::current_exe().ok().map(|path| path.with_file_name(NAME));
    let found = beside.filter(|path| is_program(path)).or_else(|| find_program(NAME));
    found.map(|path| Program { path, by: None }).ok_or_else(|| {
        Exit::usage(format!(
            "no {NAME} beside this program or on PATH: build it (cargo build --release -p {NAME}), or name one with --worker or {VARIABLE}"
        ))
    })
}

fn named(by: &'static str, path: &Path) -> Result<Program, Exit> {
    if is_program(path) {
        // Without a slash it would be looked for on PATH.
        let path = if path.components().count() == 1 { Path::new(".").join(path) } else { path.to_owned() };
        return Ok(Program { path, by: Some(by) });
    }
    Err(Exit::usage(format!("{by}={} is not an executable file", path.display())))
}
