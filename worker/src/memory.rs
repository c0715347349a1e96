//! How much memory processes hold, as /proc tells it, and how much there is.
//!
//! What counts is anonymous and shared memory: what a process has made itself. A file that is mapped
//! counts for nothing, since the system can drop its pages at any time.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Beyond this many processes of one kernel the others are not counted.
const PROGRAMS_MAX: usize = 256;

/// What one process holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Anonymous and shared memory that is there, bytes.
    pub(crate) resident: u64,
    /// Address space for data, whether it is there or not: what RLIMIT_DATA limits.
    pub(crate) data: u64,
}

/// What this process holds; none: /proc does not say.
pub(crate) fn own() -> Option<Held> {
    held(Path::new("/proc/self/status"))
}

/// What this process's programs hold together: its children, theirs, and so on.
pub(crate) fn programs() -> u64 {
    // One cheap call, as most kernels start no program.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if waitid(WaitId::All, options).is_err() {
        return 0;
    }
    let status = |pid: &u32| held(Path::new(&format!("/proc/{pid}/status")));
    descendants().iter().filter_map(status).map(|held| held.resident).sum()
}

/// This process's children, theirs, and so on.
pub(crate) fn descendants() -> Vec<u32> {
    let mut found = children(Path::new("/proc/self/task"));
    let mut next = 0;
    while next < found.len() && found.len() < PROGRAMS_MAX {
        let more = children(Path::new(&format!("/proc/{}/task", found[next])));
        found.extend(more);
        next += 1;
    }
    found
}

/// The children of this process, dead ones that nobody reaped included; none: this system does not tell.
pub(crate) fn children_of_self() -> Option<Vec<u32>> {
    let threads = Path::new("/proc/self/task");
    fs::exists(threads.join(std::process::id().to_string()).join("children")).ok()?.then(|| children(threads))
}

/// The children of all threads of a process. Not every kernel tells them; then there are none to be seen.
fn children(threads: &Path) -> Vec<u32> {
    let lists = fs::read_dir(threads).into_iter().flatten().flatten();
    let lists = lists.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// What a process holds, with the files that it has mapped; none if it is gone.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    kib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

fn held(status: &Path) -> Option<Held> {
    let text = fs::read_to_string(status).ok()?;
    let field = |name: &str| kib(&text, name);
    let resident = field("RssAnon:").map(|anon| anon + field("RssShmem:").unwrap_or(0)).or_else(|| field("VmRSS:"))?;
    Some(Held { resident, data: field("VmData:").unwrap_or(0) })
}

/// A field such as `MemTotal:  1024 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// What this machine, or the cgroup around this process, has: the smaller of both. None: nobody says.
pub(crate) fn of_machine() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib(&text, "MemTotal:"));
    limits.chain(machine).min()
}

/// Files that may hold a limit: of each group on the way to that of this process. `groups` is /proc/self/cgroup.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(root).join(path.trim_start_matches('/'));
        files.extend(group.ancestors().take_while(|above| above.starts_with(root)).map(|above| above.join(file)));
    }
    files
}

/// How much address space for data this process may have.
pub(crate) fn data_limit() -> u64 {
    getrlimit(Resource::RLIMIT_DATA).map_or(u64::MAX, |(soft, _)| soft)
}

/// Lets it have so much. This is the last line against what a look now and then misses: one huge allocation
/// fails, and the process aborts over it.
pub(crate) fn limit_data(bytes: u64) {
    // Where this is not possible, the looks are left.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_DATA) {
        let _ = setrlimit(Resource::RLIMIT_DATA, bytes.min(hard), hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn what_this_process_takes_is_seen() {
        let before = own().unwrap();
        let taken = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = own().unwrap();
        assert!(after.resident >= before.resident + (60 << 20), "{before:?} {after:?}");
        assert!(after.data >= before.data + (60 << 20), "{before:?} {after:?}");
        drop(taken);
    }

    #[test]
    fn programs_are_counted_with_their_own_programs() {
        assert!(of_machine().is_some_and(|bytes| bytes > 64 << 20));
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo; wait"]).process_group(0).stdout(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
        let (found, held) = (descendants(), programs());
        killpg(Pid::from_raw(shell.id() as i32), Signal::SIGKILL).unwrap();
        shell.wait().unwrap();
        assert!(found.contains(&shell.id()) && found.len() >= 2, "{found:?}");
        assert!(held > 50 << 10, "{held}");
    }

    #[test]
    fn limits_of_all_groups_around_count() {
        let files = limit_files("4:memory:/a\n3:cpu,cpuacct:/\n0::/b/c\n");
        let text: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        assert_eq!(
            text,
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/b/c/memory.max",
                "/sys/fs/cgroup/b/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
    }
}
