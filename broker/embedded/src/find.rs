//! Where the server program is.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::EmbeddedError;

/// The environment variable that names the server program.
pub const SERVER_VARIABLE: &str = "GRISTMILL_REDIS_SERVER";

const NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// The server program: what the variable names, else the first on `PATH`.
pub fn find_server() -> Result<PathBuf, EmbeddedError> {
    if let Some(path) = env::var_os(SERVER_VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if is_program(&path) { Ok(path) } else { Err(EmbeddedError::NotExecutable { path }) };
    }
    // A name that is preferred wins over a directory that comes earlier.
    NAMES.iter().find_map(|name| find_program(name)).ok_or(EmbeddedError::NotInstalled)
}

/// The program `setpriv` of util-linux, with which a child can be started that dies with the thread that
/// started it. The one of busybox cannot do that, and does not count.
pub fn find_setpriv() -> Option<PathBuf> {
    let program = find_program("setpriv")?;
    let real = program.canonicalize().ok()?;
    (cfg!(target_os = "linux") && real.file_name()? == "setpriv").then_some(program)
}

/// The program `setsid` of util-linux or busybox.
pub(crate) fn find_setsid() -> Option<PathBuf> {
    find_program("setsid")
}

/// The first program of this name on `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    on_path(&env::var_os("PATH").unwrap_or_default(), name)
}

fn on_path(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|dir| dir.join(name)).find(|program| is_program(program))
}

/// Whether this is a file that may be executed.
pub fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let server = dir.path().join("valkey-server");
        std::fs::write(&server, "").unwrap();
        assert_eq!(on_path(dir.path().as_os_str(), "valkey-server"), None);
        std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(on_path(dir.path().as_os_str(), "valkey-server"), Some(server));
    }

    #[test]
    fn the_error_says_how_to_install() {
        let text = EmbeddedError::NotInstalled.to_string();
        assert!(text.contains("apt-get install redis-server") && !text.contains('\n'), "{text}");
    }
}
