//! Where the worker program is.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::exit::Exit;

const NAME: &str = "gristmill-worker";
const VARIABLE: &str = "GRISTMILL_WORKER";

/// The worker program: what was asked for, else what `GRISTMILL_WORKER` names, else the one beside this
/// program, else the first on `PATH`.
pub fn find_worker(asked: Option<&Path>) -> Result<PathBuf, Exit> {
    if let Some(path) = asked {
        return named("--worker", path);
    }
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return named(VARIABLE, Path::new(&path));
    }
    let beside = env::current_exe().ok().map(|path| path.with_file_name(NAME));
    let on_path = env::var_os("PATH").unwrap_or_default();
    let mut places = beside.into_iter().chain(env::split_paths(&on_path).map(|dir| dir.join(NAME)));
    places.find(|path| is_program(path)).ok_or_else(|| {
        Exit::usage(format!(
            "no {NAME} beside this program or on PATH: build it (cargo build --release -p {NAME}), or name one with --worker or {VARIABLE}"
        ))
    })
}

fn named(by: &str, path: &Path) -> Result<PathBuf, Exit> {
    if is_program(path) {
        // Without a slash it would be looked for on PATH.
        return Ok(if path.components().count() == 1 { Path::new(".").join(path) } else { path.to_owned() });
    }
    Err(Exit::usage(format!("{by}={} is not an executable file", path.display())))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
