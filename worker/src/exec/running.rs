//! A program while it runs: its streams, its end, and the limits of its task.
//!
//! Everything happens on the thread that computes, which never waits for one of the three streams alone: a
//! program may read nothing, write without end, close what it likes, or leave others behind that keep a pipe open.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gristmill_shared::TaskContext;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getppid};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::tail::Tail;
use super::tree::{Tree, children};
use crate::process::{self, Spent};

/// How often the limits are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Without a descriptor that tells of its end, a program is looked at this often.
const LOOK_WITHOUT: Duration = Duration::from_millis(5);
/// A cancelled program has so long to end. A little later the consumer itself would be ended.
const STOP_GRACE: Duration = Duration::from_millis(1_800);
/// Without a supervisor the I/O thread gives the task back before this has passed, and ends what it has started. If
/// it cannot, nobody else would.
const ORPHAN_GRACE: Duration = Duration::from_millis(700);
const BUFFER: usize = 64 * 1024;
/// Once everybody who writes has ended, no more than what a pipe holds can be left in it.
const LEFT_IN_PIPE: usize = 1 << 20;

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ran {
    /// Its end, and what it took.
    pub(super) spent: Spent,
    /// What it wrote to stdout.
    pub(super) stdout: Tail,
    /// What it wrote to stderr.
    pub(super) stderr: Tail,
    /// How long it ran.
    pub(super) run: Duration,
    /// What it was told before it ended.
    pub(super) told: Told,
}

/// What a program was told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Told {
    /// Its soft time limit had passed: to come to an end.
    pub(super) limit: bool,
    /// Its task was cancelled, and it had its time to end by itself.
    pub(super) ended: bool,
}

/// Runs a program to its end, and ends everything that it leaves behind. Of each stream the last `keep` bytes are kept.
pub(super) fn run(mut command: Command, stdin: &[u8], keep: usize, context: &TaskContext) -> io::Result<Ran> {
    command.stdin(if stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    process::tie_to_this_thread(&mut command);
    let before = children();
    let began = Instant::now();
    let mut child = command.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let tree = Tree::of(pid, before);
    let mut streams = Streams::of(&mut child, stdin, keep)?;
    let told = attend(pid, &tree, &mut streams, context)?;
    let run = began.elapsed();
    // Only when everybody who could write is gone is what the pipes hold all there is.
    let spent = tree.end().ok_or_else(|| io::Error::other("the system does not let it go"))?;
    streams.drain();
    let Streams { stdout, stderr, .. } = streams;
    Ok(Ran { spent, stdout: stdout.tail, stderr: stderr.tail, run, told })
}

/// Looks after a program until it has ended or has to.
fn attend(pid: Pid, tree: &Tree, streams: &mut Streams<'_>, context: &TaskContext) -> io::Result<Told> {
    let end = rustix::process::Pid::from_raw(pid.as_raw()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut orders = Orders::new();
    loop {
        streams.wait(end.as_ref())?;
        streams.move_on();
        if has_ended(pid)? {
            return Ok(Told { limit: orders.asked_for_limit, ended: false });
        }
        match orders.look(context) {
            Order::GoOn => {}
            Order::Ask => tree.ask(),
            Order::End => return Ok(Told { limit: orders.asked_for_limit, ended: true }),
            Order::Orphaned => {
                // Nothing may be told of it: somebody else runs this task again.
                drop(Tree::of(pid, Vec::new()));
                loop {
                    thread::park();
                }
            }
        }
    }
}

/// Whether a child is dead; it stays there to be reaped, so that its number is its own.
fn has_ended(pid: Pid) -> io::Result<bool> {
    let Some(pid) = rustix::process::Pid::from_raw(pid.as_raw()) else { return Ok(true) };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(pid), options) {
        Ok(found) => Ok(found.is_some()),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

enum Order {
    GoOn,
    /// It should come to an end.
    Ask,
    /// It had its time.
    End,
    /// The supervisor is gone, and so should this process be.
    Orphaned,
}

/// What the limits, a cancel and the fate of the worker mean for a program.
struct Orders {
    asked_for_limit: bool,
    end_at: Option<Instant>,
    supervisor: Pid,
    orphan_since: Option<Instant>,
}

impl Orders {
    fn new() -> Self {
        Self { asked_for_limit: false, end_at: None, supervisor: getppid(), orphan_since: None }
    }

    fn look(&mut self, context: &TaskContext) -> Order {
        let now = Instant::now();
        if getppid() != self.supervisor && now.duration_since(*self.orphan_since.get_or_insert(now)) >= ORPHAN_GRACE {
            return Order::Orphaned;
        }
        if let Some(at) = self.end_at {
            return if now >= at { Order::End } else { Order::GoOn };
        }
        if context.should_stop() {
            self.end_at = Some(now + STOP_GRACE);
            return Order::Ask;
        }
        if !self.asked_for_limit && context.soft_limit_passed() {
            self.asked_for_limit = true;
            return Order::Ask;
        }
        Order::GoOn
    }
}

struct Streams<'a> {
    stdin: Option<File>,
    /// What is still to be written.
    rest: &'a [u8],
    stdout: Output,
    stderr: Output,
    buffer: Vec<u8>,
}

struct Output {
    pipe: Option<File>,
    tail: Tail,
}

impl<'a> Streams<'a> {
    fn of(child: &mut Child, stdin: &'a [u8], keep: usize) -> io::Result<Self> {
        let output = |pipe: Option<OwnedFd>| {
            Ok::<_, io::Error>(Output { pipe: pipe.map(never_blocking).transpose()?, tail: Tail::new(keep) })
        };
        Ok(Self {
            stdin: child.stdin.take().map(|pipe| never_blocking(pipe.into())).transpose()?,
            rest: stdin,
            stdout: output(child.stdout.take().map(OwnedFd::from))?,
            stderr: output(child.stderr.take().map(OwnedFd::from))?,
            buffer: vec![0; BUFFER],
        })
    }

    /// Waits until there is something to do, or it is time to look.
    fn wait(&self, end: Option<&OwnedFd>) -> io::Result<()> {
        let outputs = [&self.stdout, &self.stderr].into_iter().filter_map(|output| output.pipe.as_ref());
        let mut files: Vec<_> = outputs.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
        files.extend(end.map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN)));
        files.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
        let timeout = if end.is_some() { LOOK_EVERY } else { LOOK_WITHOUT };
        match poll(&mut files, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads and writes what can be without waiting.
    fn move_on(&mut self) {
        self.stdout.read(&mut self.buffer);
        self.stderr.read(&mut self.buffer);
        if let Some(pipe) = &mut self.stdin {
            match pipe.write(self.rest) {
                Ok(written) => self.rest = &self.rest[written..],
                Err(error) if would_block(&error) => return,
                // It does not want to read the rest.
                Err(_) => self.rest = &[],
            }
            if self.rest.is_empty() {
                self.stdin = None;
            }
        }
    }

    /// Reads what is left. Whoever keeps a pipe open beyond all of this is not waited for.
    fn drain(&mut self) {
        for output in [&mut self.stdout, &mut self.stderr] {
            let mut left = LEFT_IN_PIPE;
            while let Some(read) = output.read(&mut self.buffer).filter(|_| left > 0) {
                left = left.saturating_sub(read);
            }
        }
    }
}

impl Output {
    /// Reads what is there; none: nothing at this moment, or nothing any more.
    fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match self.pipe.as_mut()?.read(buffer) {
            Ok(read) if read > 0 => {
                self.tail.push(&buffer[..read]);
                Some(read)
            }
            Err(error) if would_block(&error) => None,
            // Everybody has closed it.
            Ok(_) | Err(_) => {
                self.pipe = None;
                None
            }
        }
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Our end of a pipe; the program's end stays as programs expect it.
fn never_blocking(pipe: OwnedFd) -> io::Result<File> {
    let flags = OFlag::from_bits_truncate(fcntl(&pipe, FcntlArg::F_GETFL)?);
    fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(File::from(pipe))
}
