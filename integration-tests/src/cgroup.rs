//! A cgroup of the test's own with little memory, where this machine lets us make one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use tempfile::TempDir;

use crate::binaries;
use crate::wait::{DEADLINE, poll};

/// It vanishes when it is dropped; all its processes must have ended by then.
#[derive(Debug)]
pub struct Cgroup {
    group: PathBuf,
    folder: TempDir,
}

impl Cgroup {
    /// Makes one whose processes may use so much memory together. None, and a line that says so, where this machine
    /// has no memory controller or does not let us.
    ///
    /// # Panics
    /// As root in CI, if the machine has a memory controller.
    pub fn with_memory(bytes: u64) -> Option<Self> {
        let made = Self::make(bytes);
        if made.is_none() {
            let root = Path::new("/sys/fs/cgroup");
            let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            let first_version = root.join("memory/memory.limit_in_bytes").exists();
            let why = if first_version || controllers.split_whitespace().any(|name| name == "memory") {
                let why = "no cgroup with a memory limit can be made here";
                let must = Uid::effective().is_root() && std::env::var_os("CI").is_some();
                assert!(!must, "{why}, although we are root and the machine has a memory controller");
                why
            } else {
                "this machine has no memory controller"
            };
            eprintln!("skipped: {why}");
        }
        made
    }

    fn make(bytes: u64) -> Option<Self> {
        let name = format!("gristmill-test-{}", std::process::id());
        // The second form is that of the first version of cgroups.
        let forms = [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];
        forms.into_iter().find_map(|(root, file)| {
            let group = Path::new(root).join(&name);
            fs::create_dir(&group).ok()?;
            // Without the controller the folder has no such file.
            let limit = group.join(file);
            if !limit.exists() || fs::write(limit, bytes.to_string()).is_err() {
                let _ = fs::remove_dir(&group);
                return None;
            }
            Some(Self { group, folder: tempfile::tempdir().expect("a temporary directory") })
        })
    }

    /// A program that enters the group and becomes the stock worker.
    pub fn worker(&self) -> PathBuf {
        let script = self.folder.path().join("worker");
        let (list, worker) = (self.group.join("cgroup.procs"), binaries::find("gristmill-worker"));
        let text = format!("#!/bin/sh\necho $$ > {} && exec {} \"$@\"\n", list.display(), worker.display());
        fs::write(&script, text).expect("a temporary file");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("our own file");
        script
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It stays busy for a moment after its last process has ended.
        let gone = poll(DEADLINE, || fs::remove_dir(&self.group).ok());
        if gone.is_none() && !std::thread::panicking() {
            panic!("{} cannot be removed", self.group.display());
        }
    }
}
