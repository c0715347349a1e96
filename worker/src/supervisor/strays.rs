//! Programs that a kernel started and that outlived their consumer.
//!
//! They become children of the supervisor, which is a child subreaper. Those in the consumer's
//! process group die with it; the others are found here.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Kills every child that `known` does not know; true: there were some, so look again after they died.
///
/// Their own children become ours in turn. Each look is one bounded pass; the supervisor looks again
/// whenever something has died, until none is left.
pub(super) fn kill_strays(known: impl Fn(Pid) -> bool) -> bool {
    let strays: Vec<Pid> = children().into_iter().filter(|&pid| !known(pid)).collect();
    for &stray in &strays {
        // It may have died by itself.
        let _ = kill(stray, Signal::SIGKILL);
    }
    !strays.is_empty()
}

/// All children of this process, dead ones that nobody reaped included.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    // The supervisor has one thread, so this file has all its children. Not every kernel offers it.
    match std::fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect(),
        Err(_) => children_by_scan().into_iter().map(|pid| Pid::from_raw(pid.cast_signed())).collect(),
    }
}

/// The same, where the system does not tell them.
pub(crate) fn children_by_scan() -> Vec<u32> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(own)).map(i32::cast_unsigned).collect()
}

/// The parent in /proc/<pid>/stat: the second field after the name, which stands in parentheses and may hold anything.
fn parent_of(pid: i32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_read_from_stat() {
        let parent = parent_of(std::process::id() as i32);
        assert_eq!(parent, Some(std::os::unix::process::parent_id()));
    }
}
