//! The private directory: made, locked, and swept if nobody holds it any more.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::{EmbeddedError, leftover};

const PREFIX: &str = "gristmill-redis-";
/// Random letters and digits behind the prefix.
const RANDOM: usize = 6;
const MODE: u32 = 0o700;
const SOCKET: &str = "redis.sock";
/// The script of the minder writes to it under this name.
const LOG: &str = "redis.log";
/// A socket's path has room for 107 bytes.
const TEMPORARY_MAX: usize = 64;
/// Another start may sweep the directory before it is locked; that happens rarely, and not often in a row.
const ATTEMPTS: usize = 100;

/// A directory that only its owner may enter. It is locked for as long as the owner or its minder lives.
#[derive(Debug)]
pub(crate) struct Home {
    dir: TempDir,
    pub(crate) socket: PathBuf,
    /// Of the directory itself, shared with the minder.
    pub(crate) lock: File,
}

impl Home {
    /// Sweeps what others left behind, and makes a directory.
    pub(crate) fn create() -> Result<Self, EmbeddedError> {
        let above = short_temporary_directory();
        sweep(&above);
        let failed = || {
            EmbeddedError::directory(format!("make a private directory in {} (TMPDIR names another)", above.display()))
        };
        for _ in 0..ATTEMPTS {
            let dir = tempfile::Builder::new()
                .prefix(PREFIX)
                .rand_bytes(RANDOM)
                .permissions(fs::Permissions::from_mode(MODE))
                .tempdir_in(&above)
                .map_err(failed())?;
            if let Some(lock) = lock(dir.path()) {
                File::create(dir.path().join(LOG)).map_err(failed())?;
                return Ok(Self { socket: dir.path().join(SOCKET), dir, lock });
            }
        }
        Err(failed()(io::Error::other("it is taken away again and again")))
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path().join(LOG)
    }
}

/// Locks a directory, unless somebody else has it, or it is not there any more.
fn lock(dir: &Path) -> Option<File> {
    let file = File::open(dir).ok()?;
    file.try_lock().ok()?;
    // Between opening and locking it may have been removed.
    let there = dir.symlink_metadata().ok()?;
    (there.ino() == file.metadata().ok()?.ino()).then_some(file)
}

/// Removes private directories that nobody holds: owner and minder were killed. A server that still runs in
/// one of them is ended. What cannot be removed now is left to the next start.
fn sweep(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let path = entry.path();
        if is_ours(&entry.file_name(), &path)
            && let Some(_lock) = lock(&path)
        {
            leftover::end(&path.join(SOCKET));
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn is_ours(name: &OsStr, path: &Path) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    if !random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return false;
    }
    // Not of what a link points to.
    path.symlink_metadata()
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw() && meta.mode() & 0o777 == MODE)
}

fn short_temporary_directory() -> PathBuf {
    let dir = std::env::temp_dir();
    if dir.as_os_str().len() <= TEMPORARY_MAX { dir } else { PathBuf::from("/tmp") }
}

/// Creates a directory for data if need be, and sees that only one server uses it.
pub(crate) fn own(dir: &Path) -> Result<(PathBuf, File), EmbeddedError> {
    let what = || format!("use the directory {}", dir.display());
    fs::create_dir_all(dir).map_err(EmbeddedError::directory(what()))?;
    let dir = dir.canonicalize().map_err(EmbeddedError::directory(what()))?;
    let lock = File::create(dir.join("gristmill.lock")).map_err(EmbeddedError::directory(what()))?;
    match lock.try_lock() {
        Ok(()) => Ok((dir, lock)),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::DirectoryInUse { path: dir }),
        Err(TryLockError::Error(error)) => Err(EmbeddedError::directory(what())(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(above: &Path, name: &str, mode: u32) -> PathBuf {
        let path = above.join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn only_what_is_ours_and_unlocked_is_swept() {
        let above = tempfile::tempdir().unwrap();
        let make = |name: &str, mode| directory(above.path(), name, mode);
        let left = make("gristmill-redis-Ab0Ab0", 0o700);
        fs::write(left.join("redis.log"), "x").unwrap();
        let held = make("gristmill-redis-aaaaaa", 0o700);
        let lock = lock(&held).unwrap();
        let kept = [
            make("gristmill-redis-aaaaaaa", 0o700),
            make("gristmill-redis-a.aaaa", 0o700),
            make("gristmill-redis-bbbbbb", 0o755),
            make("gristmill-redis", 0o700),
        ];
        let link = above.path().join("gristmill-redis-cccccc");
        std::os::unix::fs::symlink(&kept[3], &link).unwrap();
        sweep(above.path());
        assert!(!left.exists());
        assert!(held.exists() && link.exists() && kept.iter().all(|path| path.exists()));
        drop(lock);
        sweep(above.path());
        assert!(!held.exists());
    }

    #[test]
    fn a_directory_that_was_swept_while_it_was_made_is_not_locked() {
        let above = tempfile::tempdir().unwrap();
        let dir = directory(above.path(), "d", 0o700);
        assert!(lock(&dir).is_some());
        let _held = lock(&dir).unwrap();
        assert!(lock(&dir).is_none(), "somebody else has it");
        fs::remove_dir(&dir).unwrap();
        assert!(lock(&dir).is_none());
    }
}
