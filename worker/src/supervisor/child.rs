//! Children: how one is forked, what it does first, how it is spoken to and ended.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use gristmill_shared::events;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::{self, Pid, getppid, pipe2, setpgid};

use crate::control::Command;
use crate::descriptors::{Own, redirect_standard, volunteer_for_oom_killer};
use crate::process::{self, ForkError, SUPERVISOR_DIED};
use crate::roles::EXIT_BUG;

/// A child as the supervisor holds it.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: Pid,
    pub(super) since: Instant,
    control: OwnedFd,
}

impl Child {
    /// Sends a command. A child that cannot take it is dying; its death will be seen.
    pub(super) fn send(&self, command: Command) {
        let _ = unistd::write(&self.control, &[command.byte()]);
    }

    /// Kills the child and all of its process group.
    pub(super) fn kill(&self) {
        kill_group(self.pid);
    }
}

/// Kills a process group; while its leader is not reaped, the number cannot belong to anybody else.
pub(super) fn kill_group(leader: Pid) {
    // It may be empty already.
    let _ = killpg(leader, Signal::SIGKILL);
}

/// What a child is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Consumer,
    Agent,
}

/// Forks children.
#[derive(Debug)]
pub(super) struct Nursery {
    /// Descriptors that every child keeps.
    own: Own,
    /// The signal mask from before the supervisor blocked its signals.
    mask: SigSet,
    pid: Pid,
}

/// Both ends of a pipe: for reading, for writing. Non-blocking: neither side may ever hang on the other.
pub(super) type Pipe = (OwnedFd, OwnedFd);

/// Makes a pipe.
pub(super) fn pipe() -> nix::Result<Pipe> {
    pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
}

impl Nursery {
    pub(super) fn new(own: Own, mask: SigSet) -> Self {
        Self { own, mask, pid: unistd::getpid() }
    }

    /// Forks a child that runs `body` with its end of the control pipe and the `pipes` given.
    pub(super) fn fork<const N: usize>(
        &self,
        role: Role,
        pipes: [OwnedFd; N],
        body: impl FnOnce(OwnedFd, [OwnedFd; N]) -> u8,
    ) -> Result<Child, ForkError> {
        let (reader, control) = pipe().map_err(ForkError::System)?;
        let pid = process::fork(|| {
            let mut keep = vec![reader.as_raw_fd()];
            keep.extend(pipes.iter().map(AsRawFd::as_raw_fd));
            match self.settle_in(role, &keep) {
                Ok(()) => body(reader, pipes),
                Err(error) => {
                    tracing::error!(event = events::CHILD_FAILED, %error);
                    EXIT_BUG
                }
            }
        })?;
        // Parent and child both do this, so that neither can be too early. EACCES: it has called exec; never here.
        match setpgid(pid, pid) {
            Ok(()) | Err(Errno::ESRCH | Errno::EACCES) => {}
            Err(error) => tracing::warn!(event = events::CHILD_FAILED, pid = pid.as_raw(), error = error.desc()),
        }
        Ok(Child { pid, since: Instant::now(), control })
    }

    /// The first steps of a child, in an order that matters.
    fn settle_in(&self, role: Role, pipes: &[i32]) -> io::Result<()> {
        // The group comes before the handler that kills the own group: it must not be the supervisor's.
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        process::install_child_handlers()?;
        prctl::set_pdeathsig(SUPERVISOR_DIED)?;
        if getppid() != self.pid {
            // It died before it could be told to.
            process::leave(EXIT_BUG);
        }
        let mut mask = self.mask;
        mask.remove(SUPERVISOR_DIED);
        mask.remove(Signal::SIGALRM);
        mask.thread_set_mask()?;
        self.own.close_others(pipes)?;
        redirect_standard()?;
        if role == Role::Consumer {
            prctl::set_child_subreaper(true)?;
            // Not allowed everywhere, and not needed for correct work.
            let _ = volunteer_for_oom_killer();
        }
        Ok(())
    }
}

/// Writes as much as the pipe takes; 0: it is full.
pub(super) fn write_some(pipe: impl AsFd, bytes: &[u8]) -> nix::Result<usize> {
    match unistd::write(pipe, bytes) {
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
        other => other,
    }
}
