//! Signals as data: blocked, and read from a descriptor. No handler ever runs in the supervisor.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::process;

/// The signals that the supervisor acts on.
#[derive(Debug)]
pub(super) struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Blocks them; also returns the mask from before, which children restore.
    pub(super) fn block() -> nix::Result<(Self, SigSet)> {
        process::default_child_signal()?;
        let set: SigSet = [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok((Self { descriptor }, before))
    }

    /// The next signal to stop that has come. Others only wake the loop, which looks at everything anyway.
    pub(super) fn next_stop(&self) -> Option<Signal> {
        while let Ok(Some(info)) = self.descriptor.read_signal() {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            if let Some(stop @ (Signal::SIGINT | Signal::SIGTERM)) = signal {
                return Some(stop);
            }
        }
        None
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
