//! The one file with unsafe code: fork, shared memory, signal handlers, wait.
//!
//! Everything here has a safe signature. What makes forking safe is that the supervisor is
//! single-threaded for life: a child of a process with threads would inherit locks that nobody
//! ever opens. [`fork`] checks that each time.
#![expect(unsafe_code, reason = "fork, mmap, sigaction and wait4 have no safe form; each use says why it is sound")]

use std::io;
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, Pid};

use crate::roles::EXIT_BUG;
use crate::slot::{Board, Slot, Slots};

/// Sent to a child when the supervisor dies (PR_SET_PDEATHSIG); a second later the child's group is killed.
/// Until then it may give back what it holds: it also sees the end of its control pipe.
pub(crate) const SUPERVISOR_DIED: Signal = Signal::SIGUSR2;

/// Why no child could be forked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForkError {
    /// The process has threads: a child would inherit their locks.
    #[error("this process has {0} threads, and a worker may only fork while it has one")]
    Threads(usize),
    /// The threads cannot be counted.
    #[error("cannot read /proc/self/task: {0}")]
    Proc(#[source] io::Error),
    /// The system refused.
    #[error("cannot start a process: {}", .0.desc())]
    System(Errno),
}

/// Marks types that several processes may share, and that start as zero bytes.
///
/// # Safety
/// All zero bytes must be a valid value, and every field that changes must be atomic.
unsafe trait Shared: Sync {}

// SAFETY: a slot consists of atomic integers and atomic bools only, for which zero is valid.
unsafe impl Shared for Slot {}
// SAFETY: as for a slot.
unsafe impl Shared for Board {}

/// Maps the shared memory of a worker. To be called once, before the first fork.
pub(crate) fn map_slots(places: NonZeroUsize) -> io::Result<Slots> {
    let board = map_shared::<Board>(NonZeroUsize::MIN)?;
    Ok(Slots::new(&board[0], map_shared::<Slot>(places)?))
}

fn map_shared<T: Shared>(count: NonZeroUsize) -> io::Result<&'static [T]> {
    let bytes = NonZeroUsize::new(size_of::<T>().saturating_mul(count.get()))
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel chooses a free address range, so nothing that exists is replaced.
    let start = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_SHARED) }?;
    // SAFETY: the mapping is `count` values long, aligned to a page (types here are aligned to 128 bytes),
    // zeroed, which `Shared` calls valid, never unmapped, and only ever used through shared
    // references to atomics, which other processes may change at any time.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<T>().as_ptr(), count.get()) })
}

/// Fails unless this process has exactly one thread.
pub(crate) fn check_single_thread() -> Result<(), ForkError> {
    match std::fs::read_dir("/proc/self/task").map_err(ForkError::Proc)?.count() {
        1 => Ok(()),
        threads => Err(ForkError::Threads(threads)),
    }
}

/// Forks a child which runs `body` and leaves with the code that it returns, or with 70 if it panics.
pub(crate) fn fork(body: impl FnOnce() -> u8) -> Result<Pid, ForkError> {
    check_single_thread()?;
    // SAFETY: with a single thread no lock can be held by a thread which the child lacks, so the child
    // may do what any process may. It never returns from here, so nothing of the parent's is dropped twice.
    match unsafe { nix::unistd::fork() }.map_err(ForkError::System)? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(EXIT_BUG);
            leave(code)
        }
    }
}

/// Ends this process at once, without the exit handlers, which belong to the supervisor.
pub(crate) fn leave(code: u8) -> ! {
    // SAFETY: `_exit` has no precondition and never returns.
    unsafe { libc::_exit(i32::from(code)) }
}

extern "C" fn ignore(_: libc::c_int) {}

const ORPHAN_SECONDS: libc::c_uint = 1;

extern "C" fn arm_alarm(_: libc::c_int) {
    // SAFETY: alarm is async-signal-safe and has no precondition.
    unsafe { libc::alarm(ORPHAN_SECONDS) };
}

extern "C" fn kill_own_group(_: libc::c_int) {
    // SAFETY: kill is async-signal-safe; 0 means the caller's own process group.
    unsafe { libc::kill(0, libc::SIGKILL) };
}

/// Handlers of a child, which must lead a process group already.
///
/// INT and TERM get handlers that do nothing, where SIG_IGN would be inherited by a kernel's programs.
pub(crate) fn install_child_handlers() -> nix::Result<()> {
    let handler = |function| SigAction::new(SigHandler::Handler(function), SaFlags::SA_RESTART, SigSet::empty());
    for (signal, function) in [
        (Signal::SIGINT, ignore as extern "C" fn(libc::c_int)),
        (Signal::SIGTERM, ignore),
        (SUPERVISOR_DIED, arm_alarm),
        (Signal::SIGALRM, kill_own_group),
    ] {
        // SAFETY: all are async-signal-safe: one does nothing, the others call alarm and kill.
        unsafe { sigaction(signal, &handler(function)) }?;
    }
    Ok(())
}

/// Whether panics and failed allocations print a backtrace.
const BACKTRACE: &str = "RUST_BACKTRACE";
/// Whether errors capture one; by default as the other says.
const LIB_BACKTRACE: &str = "RUST_LIB_BACKTRACE";

/// Where the handler of SIGABRT notes that memory ran out: nothing but a global reaches it.
static STARVED: AtomicPtr<AtomicBool> = AtomicPtr::new(ptr::null_mut());
/// Whose memory that is. What a kernel forks shares the mark, but not what became of its memory.
static STARVING: AtomicI32 = AtomicI32::new(0);

extern "C" fn note_starvation(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the location of this thread's errno is always valid, and asking for it is async-signal-safe.
    let refused = unsafe { *libc::__errno_location() } == libc::ENOMEM;
    // SAFETY: getpid is async-signal-safe and has no precondition.
    let own = unsafe { libc::getpid() };
    // SAFETY: the system hands over a valid siginfo, and whatever it says of its sender is an initialised integer.
    let sender = unsafe { (*info).si_pid() };
    // A signal from elsewhere says nothing of memory, whatever is left in errno.
    if refused && own == sender && own == STARVING.load(Ordering::Acquire) {
        // SAFETY: null, or from a reference that lives as long as the process.
        if let Some(mark) = unsafe { STARVED.load(Ordering::Acquire).as_ref() } {
            mark.store(true, Ordering::Release);
        }
    }
    // Only abort() sends the signal again by itself. It waits until this handler, which is not set any more, has returned.
    // SAFETY: raise is async-signal-safe and has no precondition.
    unsafe { libc::raise(libc::SIGABRT) };
}

/// Sets `mark` when this process aborts because the system refused it memory. What fails to allocate leaves
/// ENOMEM in errno and aborts; whoever runs foreign code clears errno before. The signal ends the process as ever.
pub(crate) fn mark_starvation(mark: &'static AtomicBool) -> nix::Result<()> {
    check_single_thread().map_err(|_| Errno::EBUSY)?;
    if let Some(wish) = std::env::var_os(BACKTRACE) {
        let lib = std::env::var_os(LIB_BACKTRACE).unwrap_or(wish);
        // SAFETY: this process has one thread, so nobody reads the environment meanwhile.
        unsafe {
            std::env::set_var(LIB_BACKTRACE, lib);
            // A backtrace, printed before the abort, would leave something else in errno.
            std::env::set_var(BACKTRACE, "0");
        }
    }
    STARVED.store(ptr::from_ref(mark).cast_mut(), Ordering::Release);
    STARVING.store(nix::unistd::getpid().as_raw(), Ordering::Release);
    let flags = SaFlags::SA_RESETHAND | SaFlags::SA_SIGINFO;
    let handler = SigAction::new(SigHandler::SigAction(note_starvation), flags, SigSet::empty());
    // SAFETY: it reads errno, writes an atomic, calls getpid and raise: async-signal-safe.
    unsafe { sigaction(Signal::SIGABRT, &handler) }?;
    Ok(())
}

/// Sets SIGCHLD to its default: a launcher that ignored it would have the kernel reap our children.
pub(crate) fn default_child_signal() -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    unsafe { sigaction(Signal::SIGCHLD, &default) }?;
    Ok(())
}

/// A child that is dead and not reaped yet, so that its process group still has its number.
pub(crate) fn find_dead() -> nix::Result<Option<Pid>> {
    // SAFETY: siginfo_t is plain data, for which zero is valid; the call below fills it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a valid place for the answer.
    match Errno::result(unsafe { libc::waitid(libc::P_ALL, 0, &mut info, options) }) {
        // SAFETY: waitid answered, so the fields of a child's siginfo are set; 0 means nobody is dead.
        Ok(_) => Ok(Some(unsafe { info.si_pid() }).filter(|&pid| pid != 0).map(Pid::from_raw)),
        Err(Errno::ECHILD | Errno::EINTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sees to it that a program which `command` starts dies with the thread that started it, leads a session and a
/// process group of its own, gains no rights by what it runs (a process of another user could not be killed), and
/// gets no descriptor of this process beyond the standard three.
pub(crate) fn tie_to_this_thread(command: &mut std::process::Command) {
    let parent = nix::unistd::getpid();
    let tie = move || {
        nix::unistd::setsid()?;
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        if nix::unistd::getppid() != parent {
            // It died before the program could be told to follow.
            leave(EXIT_BUG);
        }
        nix::sys::prctl::set_no_new_privs()?;
        // SAFETY: close_range with this flag closes nothing before the exec. An old system that lacks it has only
        // what Rust opened, which closes by itself.
        unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) };
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls only: it allocates nothing and takes no lock.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, tie) };
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reaped {
    /// Its exit code or signal.
    pub(crate) status: ExitStatus,
    /// Largest resident size of it and of its programs, bytes.
    pub(crate) peak_rss_bytes: u64,
}

/// How a program ended, and what it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    /// As of any child.
    pub(crate) reaped: Reaped,
    /// Processor time in user mode, of it and of the programs that it waited for.
    pub(crate) user: Duration,
    /// The same in the system.
    pub(crate) system: Duration,
}

/// Takes a dead child away; none: it is not dead, or no child of ours.
pub(crate) fn reap(pid: Pid) -> Option<Reaped> {
    reap_program(pid).map(|spent| spent.reaped)
}

/// The same, with the processor time that it took.
pub(crate) fn reap_program(pid: Pid) -> Option<Spent> {
    let mut status = 0;
    // SAFETY: rusage is plain data, for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    let found = unsafe { libc::wait4(pid.as_raw(), &mut status, libc::WNOHANG, &mut usage) };
    let peak_rss_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    let reaped = Reaped { status: ExitStatus::from_raw(status), peak_rss_bytes };
    let (user, system) = (duration(usage.ru_utime), duration(usage.ru_stime));
    (found == pid.as_raw()).then_some(Spent { reaped, user, system })
}

fn duration(time: libc::timeval) -> Duration {
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0)) + Duration::from_micros(micros)
}
