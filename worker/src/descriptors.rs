//! Which file descriptors a child keeps.
//!
//! A child that kept the supervisor's pipes would hide their end of file from everybody else. What
//! `preload` or the program opened before stays open: kernels may use it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::RawFd;

use nix::unistd;

const STANDARD: RawFd = 2;

/// The descriptors that this program opened itself, beyond the standard three.
///
/// What its launcher left open is told apart by the close-on-exec flag: a descriptor that has survived
/// an exec cannot have it, and Rust sets it on everything.
#[derive(Debug, Clone)]
pub(crate) struct Own(Vec<RawFd>);

/// The descriptors that the launcher left open; to be found first thing in `main`.
#[derive(Debug, Clone)]
pub(crate) struct Foreign(Vec<RawFd>);

impl Foreign {
    /// Looks for them.
    pub(crate) fn find() -> io::Result<Self> {
        Ok(Self(open_descriptors()?.into_iter().filter(|&fd| !closes_on_exec(fd)).collect()))
    }

    /// What the program has opened since it began; to be asked before the supervisor opens anything.
    pub(crate) fn own(&self) -> io::Result<Own> {
        Ok(Own(open_descriptors()?.into_iter().filter(|fd| !self.0.contains(fd)).collect()))
    }
}

impl Own {
    /// Closes every descriptor of a child except these, `pipes` and the standard three.
    pub(crate) fn close_others(&self, pipes: &[RawFd]) -> io::Result<()> {
        for fd in open_descriptors()? {
            if !self.0.contains(&fd) && !pipes.contains(&fd) {
                // It is open, and an error of close leaves nothing to do.
                let _ = unistd::close(fd);
            }
        }
        Ok(())
    }
}

/// Makes stdin /dev/null and sends stdout to stderr: a kernel that prints must not mix with anybody's data.
pub(crate) fn redirect_standard() -> io::Result<()> {
    unistd::dup2_stdin(File::open("/dev/null")?)?;
    unistd::dup2_stdout(io::stderr())?;
    Ok(())
}

/// Makes this process the first that the system's out-of-memory killer picks.
pub(crate) fn volunteer_for_oom_killer() -> io::Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    const RAISE: i32 = 300;
    let now: i32 = std::fs::read_to_string(FILE)?.trim().parse().unwrap_or(0);
    let raised = (now + RAISE).min(1_000);
    io::Write::write_all(&mut OpenOptions::new().write(true).open(FILE)?, raised.to_string().as_bytes())
}

/// All open descriptors above the standard three.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let fd = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        open.extend(fd.filter(|&fd: &RawFd| fd > STANDARD));
    }
    // One of them was the directory itself, closed by now.
    open.retain(|&fd| flags(fd).is_some());
    Ok(open)
}

fn closes_on_exec(fd: RawFd) -> bool {
    flags(fd).is_some_and(|flags| flags & libc::O_CLOEXEC != 0)
}

/// The flags of an open descriptor, as /proc tells them in octal.
fn flags(fd: RawFd) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    i32::from_str_radix(flags.trim(), 8).ok()
}
