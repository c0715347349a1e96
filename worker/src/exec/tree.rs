//! A program with everything that it has started, and the end of them all.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::process::{self, Spent};
use crate::{memory, supervisor};

/// What is killed is gone within microseconds, unless a device holds it.
const GONE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A program that leads a session of its own, and its descendants. Dropping it ends them.
///
/// What leaves the session has a parent that dies in the end; then it becomes a child of this process, which is a child
/// subreaper, and is found there.
#[derive(Debug)]
pub(super) struct Tree {
    leader: Pid,
    /// Children that this process had before: they belong to earlier tasks.
    before: Vec<u32>,
    ended: bool,
}

impl Tree {
    /// That of a child; `before` is what [`children`] told when it was not there yet.
    pub(super) fn of(leader: Pid, before: Vec<u32>) -> Self {
        Self { leader, before, ended: false }
    }

    /// Asks all of its process group to end, those that are stopped as well.
    pub(super) fn ask(&self) {
        // It may have ended by itself; as long as nobody reaps it, the number is its own.
        let _ = killpg(self.leader, Signal::SIGTERM);
        let _ = killpg(self.leader, Signal::SIGCONT);
    }

    /// Ends all of it, and tells how the program itself ended; none: the system does not let it go.
    pub(super) fn end(mut self) -> Option<Spent> {
        self.kill()
    }

    fn kill(&mut self) -> Option<Spent> {
        self.ended = true;
        // While nobody has reaped the leader, its group is surely its own.
        let _ = killpg(self.leader, Signal::SIGKILL);
        let until = Instant::now() + GONE_WITHIN;
        let mut spent = None;
        loop {
            spent = spent.or_else(|| process::reap_program(self.leader));
            let mut left = children();
            left.retain(|pid| !self.before.contains(pid) && pid.cast_signed() != self.leader.as_raw());
            let mut dying = spent.is_none();
            for pid in left.iter().map(|pid| Pid::from_raw(pid.cast_signed())) {
                // One that is dead already is only to be taken away.
                let _ = kill(pid, Signal::SIGKILL);
                dying |= process::reap(pid).is_none();
            }
            // What was taken away may have left us children of its own: so the last look finds nobody.
            if (left.is_empty() && !dying) || Instant::now() >= until {
                return spent;
            }
            if dying {
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

/// All children of this process.
pub(super) fn children() -> Vec<u32> {
    memory::children_of_self().unwrap_or_else(supervisor::children_by_scan)
}
