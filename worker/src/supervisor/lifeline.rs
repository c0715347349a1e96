//! Whoever starts a worker for itself alone may hold its stdin: when that ends, its owner is gone, however it went.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The stdin of the worker, if somebody holds it.
#[derive(Debug)]
pub(super) struct Lifeline {
    stdin: Option<io::Stdin>,
}

impl Lifeline {
    /// Only a pipe can be held: a program that inherits the setting, and not the pipe, has no lifeline.
    pub(super) fn new(wanted: bool) -> Self {
        let is_pipe = || std::fs::metadata("/proc/self/fd/0").is_ok_and(|stdin| stdin.file_type().is_fifo());
        Self { stdin: (wanted && is_pipe()).then(io::stdin) }
    }

    /// To wait for.
    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().map(AsFd::as_fd)
    }

    /// Whether it has ended; true once.
    pub(super) fn is_cut(&mut self) -> bool {
        let Some(pipe) = self.pipe() else { return false };
        let mut polled = [PollFd::new(pipe, PollFlags::POLLIN)];
        if !matches!(poll(&mut polled, PollTimeout::ZERO), Ok(1..)) {
            return false;
        }
        // What is written there means nothing.
        let cut = matches!(
            nix::unistd::read(pipe, &mut [0; 64]),
            Ok(0) | Err(nix::errno::Errno::EIO | nix::errno::Errno::EBADF)
        );
        if cut {
            self.stdin = None;
        }
        cut
    }
}
