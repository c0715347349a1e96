//! Where things are: the program's file, and the directory to run it in.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gristmill_shared::KernelError;
use gristmill_shared::exec::KIND_START;
use nix::unistd::{AccessFlags, access};

use super::refused;

/// The file of a program: a name is looked for on `path`, an absolute path is taken as it stands.
///
/// Not left to the system: a relative part of PATH would mean a directory that the task has chosen.
pub(super) fn program(name: &str, path: &OsStr) -> Result<PathBuf, KernelError> {
    if name.is_empty() {
        return Err(refused("the program's name is empty"));
    }
    if !name.contains('/') {
        let places = std::env::split_paths(path).filter(|place| place.is_absolute()).map(|place| place.join(name));
        let found = places.into_iter().find(|file| is_program(file));
        return found.ok_or_else(|| start(format!("there is no program {name:?} on the PATH of this worker")));
    }
    if !name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return Err(refused(format!("the program {name:?}: use a name on PATH, or an absolute path without ..")));
    }
    let file = PathBuf::from(name);
    if is_program(&file) { Ok(file) } else { Err(start(format!("{name:?} is no program that this worker can run"))) }
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file()) && access(file, AccessFlags::X_OK).is_ok()
}

/// Another machine may have it, so that another attempt can help.
fn start(message: String) -> KernelError {
    KernelError::new(message).kind(KIND_START)
}

/// A directory to run a program in, held open, so that nobody puts another in its place.
#[derive(Debug)]
pub(super) struct Directory(File);

impl Directory {
    /// Opens one that lies beneath one of those that are allowed, which are real paths.
    pub(super) fn open(path: &str, allowed: &[PathBuf]) -> Result<Self, KernelError> {
        if path.contains('\0') || !path.starts_with('/') {
            return Err(refused(format!("cwd is {path:?}: use an absolute path")));
        }
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path);
        let dir = match opened {
            Ok(dir) => Self(dir),
            // Who may not go there does not learn what is there.
            Err(_) if path.split('/').any(|part| part == "..") || !beneath(Path::new(path), allowed) => {
                return Err(outside(path));
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(start(format!("cwd is {path:?}: this worker has no such directory")));
            }
            Err(error) => return Err(start(format!("cwd is {path:?}: {error}"))),
        };
        // Where it really is, after all links.
        let real = fs::read_link(dir.path()).map_err(|error| start(format!("cwd is {path:?}: {error}")))?;
        if beneath(&real, allowed) { Ok(dir) } else { Err(outside(path)) }
    }

    /// A path that leads there for as long as it is open, in this process and in one that is forked from it.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

fn beneath(path: &Path, allowed: &[PathBuf]) -> bool {
    allowed.iter().any(|dir| path.starts_with(dir))
}

fn outside(path: &str) -> KernelError {
    refused(format!(
        "cwd is {path:?}: this worker runs nothing there; its operator can allow it, with --allow-exec-dir"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn told(result: Result<impl Sized, KernelError>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_program_is_found_where_it_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("tool");
        fs::write(&tool, "#!/bin/sh\n").unwrap();
        let path = std::env::join_paths([Path::new("."), Path::new("/nowhere"), dir.path()]).unwrap();
        assert!(told(program("tool", &path)).contains("no program \"tool\""), "it is not executable");
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(program("tool", &path).unwrap(), tool);
        assert_eq!(program(tool.to_str().unwrap(), OsStr::new("")).unwrap(), tool);
        for name in ["", ".", "..", "./tool", "bin/tool", "../tool", "/bin/../bin/sh", "/", "/nowhere/tool", "tool\0"] {
            assert!(program(name, &path).is_err(), "{name:?}");
        }
        assert!(program("tool", OsStr::new(".:relative:")).is_err(), "only absolute places count");
    }

    #[test]
    fn a_directory_lies_where_it_really_is() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let (data, outer) = (base.join("data"), base.join("data-not"));
        fs::create_dir_all(data.join("a/b")).unwrap();
        fs::create_dir_all(&outer).unwrap();
        symlink(&outer, data.join("out")).unwrap();
        symlink(data.join("a"), outer.join("in")).unwrap();
        fs::write(data.join("file"), "").unwrap();
        let allowed = [data.clone()];
        let open = |path: &Path| told(Directory::open(path.to_str().unwrap(), &allowed));
        for inside in [data.clone(), data.join("a/b"), data.join("a/../a"), outer.join("in/b")] {
            assert_eq!(open(&inside), "", "{}", inside.display());
        }
        for outside in [outer.clone(), data.join(".."), data.join("a/../../data-not"), data.join("out"), base.clone()] {
            assert!(open(&outside).contains("--allow-exec-dir"), "{}", outside.display());
        }
        assert!(open(&data.join("missing")).contains("no such directory"));
        assert!(open(&data.join("file")).contains("no such directory"));
        assert!(open(Path::new("/nowhere")).contains("--allow-exec-dir"), "what is outside is not told");
        assert!(told(Directory::open("data", &allowed)).contains("absolute"));
        assert!(told(Directory::open("/a\0b", &allowed)).contains("absolute"));
        assert!(told(Directory::open("/", &[])).contains("--allow-exec-dir"));
    }
}
