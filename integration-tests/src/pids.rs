//! Processes by pid, as /proc shows them. A pid alone can be reused; with its start time it cannot.

use std::fs;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// One process, for as long as it lives and never another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    started: u64,
}

impl Process {
    /// The process that has this pid now; dead or alive.
    pub fn now(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, started: stat.started })
    }

    /// Whether it is there and no zombie.
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !stat.is_dead())
    }

    /// Whether it is stopped by a signal.
    pub fn is_stopped(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && stat.state == 'T')
    }

    /// Sends a signal, if it still lives.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            // It may die at this moment.
            let _ = signal::kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Its children, not theirs.
    pub fn children(self) -> Vec<Process> {
        all().filter(|(_, stat)| stat.parent == self.pid && !stat.is_dead()).map(|(process, _)| process).collect()
    }

    /// Its children, theirs, and so on.
    pub fn descendants(self) -> Vec<Process> {
        let mut found = self.children();
        let mut next = 0;
        while let Some(process) = found.get(next) {
            found.extend(process.children());
            next += 1;
        }
        found
    }
}

struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

impl Stat {
    fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

fn all() -> impl Iterator<Item = (Process, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| stat(pid).map(|stat| (Process { pid, started: stat.started }, stat)))
}

/// /proc/<pid>/stat. The name stands in parentheses and may hold anything, so fields count from its end.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    Some(Stat { state, parent: fields.get(1)?.parse().ok()?, started: fields.get(19)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found() {
        let own = Process::now(std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        assert!(!own.is_stopped());
        let parent = Process::now(std::os::unix::process::parent_id() as i32);
        assert!(parent.is_none_or(|parent| parent.children().contains(&own)));
    }
}
