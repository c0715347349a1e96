//! However owner and minder end, neither a server nor a directory is left.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use gristmill_embedded::{AppendOnly, EmbeddedError, EmbeddedOptions, EmbeddedRedis};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Names the directory in which the owner keeps data.
const KEEP: &str = "GRISTMILL_TEST_KEEP";

/// Not a test: the owner that the tests end.
#[test]
#[ignore = "run by the tests below in a process of its own"]
fn owner() {
    let mut options = EmbeddedOptions::new();
    if let Some(dir) = std::env::var_os(KEEP) {
        // With a point to save, a server that ends in order writes a snapshot.
        options = options.dir(dir).appendonly(AppendOnly::EverySecond).extra("save", "3600 1");
    }
    match options.start() {
        Ok(redis) => {
            println!("\nowns {} {} {}", redis.socket_path().display(), redis.pid().unwrap(), redis.minder_pid());
            // Until the test's end of the pipe closes, or we are killed.
            let _ = std::io::stdin().read(&mut [0]);
        }
        Err(error) => println!("\nfailed {error}"),
    }
}

struct Owner {
    child: Child,
    /// Stays open: the owner has more to print.
    _stdout: BufReader<ChildStdout>,
    socket: PathBuf,
    server: u32,
    minder: u32,
}

impl Owner {
    fn command() -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "owner", "--ignored", "--nocapture"]);
        command
    }

    fn start() -> Self {
        Self::with(Self::command()).unwrap()
    }

    /// An owner, or the error that it got.
    fn with(mut command: Command) -> Result<Self, String> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        for line in stdout.by_ref().lines().map(Result::unwrap) {
            if let Some(error) = line.strip_prefix("failed ") {
                child.wait().unwrap();
                return Err(error.to_owned());
            }
            if let Some(owns) = line.strip_prefix("owns ") {
                let owns: Vec<&str> = owns.split(' ').collect();
                let (socket, server, minder) = (owns[0].into(), owns[1].parse().unwrap(), owns[2].parse().unwrap());
                return Ok(Self { child, _stdout: stdout, socket, server, minder });
            }
        }
        panic!("the owner ended with {}", child.wait().unwrap());
    }

    fn home(&self) -> PathBuf {
        self.socket.parent().unwrap().to_owned()
    }

    fn end(&mut self, signal: Signal) {
        send(self.child.id(), signal);
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(signal as i32));
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn answers(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let mut reply = String::new();
    writeln!(stream, "PING\r").is_ok() && BufReader::new(stream).read_line(&mut reply).is_ok() && reply == "+PONG\r\n"
}

/// Fields of /proc/<pid>/stat, from the state on; none for a process that is gone.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_ascii_whitespace().map(str::to_owned).collect();
    (fields[0] != "Z").then_some(fields)
}

fn parent(pid: u32) -> u32 {
    stat(pid).unwrap()[1].parse().unwrap()
}

fn session(pid: u32) -> u32 {
    stat(pid).unwrap()[3].parse().unwrap()
}

fn assert_nothing_left(owner: &Owner) {
    eventually("the server ends", || stat(owner.server).is_none());
    eventually("the minder ends", || stat(owner.minder).is_none());
    assert!(!owner.home().exists(), "the minder ends last");
}

#[test]
fn a_killed_owner_leaves_nothing_whatever_killed_it() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGKILL] {
        let mut owner = Owner::start();
        assert!(answers(&owner.socket));
        owner.end(signal);
        assert_nothing_left(&owner);
    }
}

#[test]
fn an_owner_that_ends_by_itself_leaves_nothing() {
    let mut owner = Owner::start();
    drop(owner.child.stdin.take());
    assert!(owner.child.wait().unwrap().success());
    // Nothing is still on its way: the owner has waited for it.
    assert!(stat(owner.server).is_none() && stat(owner.minder).is_none() && !owner.home().exists());
}

#[test]
fn a_server_that_is_stopped_ends_as_well() {
    let mut owner = Owner::start();
    send(owner.server, Signal::SIGSTOP);
    owner.end(Signal::SIGKILL);
    assert_nothing_left(&owner);
}

#[test]
fn data_that_is_kept_is_written_before_the_server_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Owner::command();
    command.env(KEEP, dir.path());
    let mut owner = Owner::with(command).unwrap();
    let options = EmbeddedOptions::new().appendonly(AppendOnly::EverySecond).dir(dir.path());
    assert!(matches!(options.clone().start(), Err(EmbeddedError::DirectoryInUse { .. })));
    writeln!(UnixStream::connect(&owner.socket).unwrap(), "SET k v\r").unwrap();
    owner.end(Signal::SIGKILL);
    assert_nothing_left(&owner);
    assert!(dir.path().join("dump.rdb").exists(), "it was told to end, not killed");
    assert!(answers(options.start().unwrap().socket_path()), "the directory is free again");
}

#[test]
fn nobody_else_gets_the_data_while_a_server_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Owner::command();
    command.env(KEEP, dir.path());
    let mut owner = Owner::with(command).unwrap();
    // The minder stands still, and with it the end of the server.
    send(owner.minder, Signal::SIGSTOP);
    owner.end(Signal::SIGKILL);
    let options = EmbeddedOptions::new().dir(dir.path());
    assert!(matches!(options.start(), Err(EmbeddedError::DirectoryInUse { .. })));
    send(owner.minder, Signal::SIGCONT);
    assert_nothing_left(&owner);
}

#[test]
fn minder_and_server_stand_in_a_session_of_their_own() {
    let redis = EmbeddedRedis::start().unwrap();
    let (own, minder, server) = (std::process::id(), redis.minder_pid(), redis.pid().unwrap());
    assert_eq!((parent(minder), parent(server)), (own, minder));
    assert_eq!((session(minder), session(server)), (minder, minder));
    assert_ne!(session(own), minder);
}

#[test]
fn ctrl_c_reaches_the_owner_and_not_the_server() {
    // An owner that has something to do before it ends: it ignores the signal, as a handler would.
    let owned = Owner::command();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"trap '' INT; exec "$0" "$@""#]).arg(owned.get_program()).args(owned.get_args());
    command.process_group(0);
    let mut owner = Owner::with(command).unwrap();
    killpg(Pid::from_raw(owner.child.id() as i32), Signal::SIGINT).unwrap();
    assert_ne!(stat(owner.server).unwrap()[2], owner.child.id().to_string(), "not in the owner's process group");
    assert!(answers(&owner.socket));
    drop(owner.child.stdin.take());
    owner.child.wait().unwrap();
    assert_nothing_left(&owner);
}

#[test]
fn signals_do_not_end_the_minder() {
    let owner = Owner::start();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        send(owner.minder, signal);
    }
    assert!(answers(&owner.socket) && stat(owner.minder).is_some());
}

#[test]
fn a_server_dies_with_its_minder_and_can_be_started_again() {
    let mut redis = EmbeddedRedis::start().unwrap();
    let server = redis.pid().unwrap();
    send(redis.minder_pid(), Signal::SIGKILL);
    eventually("the server ends", || stat(server).is_none());
    assert!(!redis.is_running());
    assert!(matches!(redis.pause(), Err(EmbeddedError::NotRunning)));
    redis.restart().unwrap();
    assert!(answers(redis.socket_path()));
    let home = redis.socket_path().parent().unwrap().to_owned();
    drop(redis);
    assert!(!home.exists());
}

/// An owner whose directory stands in a place of the test's own.
fn owner_in(place: &Path) -> Owner {
    let mut command = Owner::command();
    command.env("TMPDIR", place);
    Owner::with(command).unwrap()
}

#[test]
fn the_next_start_sweeps_what_owner_and_minder_left() {
    let place = tempfile::tempdir().unwrap();
    let mut owner = owner_in(place.path());
    let living = owner_in(place.path());
    send(owner.minder, Signal::SIGKILL);
    eventually("the server ends", || stat(owner.server).is_none());
    let other = owner_in(place.path());
    assert!(owner.home().exists(), "its owner lives, and may start a server again");
    owner.end(Signal::SIGKILL);
    assert!(owner.home().exists(), "nobody was there to remove it");
    let _next = owner_in(place.path());
    assert!(!owner.home().exists());
    assert!(answers(&living.socket) && answers(&other.socket));
}

/// A directory of links to these programs, for PATH.
fn path_of(programs: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in programs {
        let mut places = std::env::split_paths(&path).map(|dir| dir.join(program));
        let found = places.find(|path| path.exists()).unwrap_or_else(|| panic!("no {program}"));
        std::os::unix::fs::symlink(found, dir.path().join(program)).unwrap();
    }
    dir
}

#[test]
fn without_setpriv_the_next_start_ends_the_server() {
    let place = tempfile::tempdir().unwrap();
    let path = path_of(&["redis-server", "rm", "sleep"]);
    let mut command = Owner::command();
    command.env("TMPDIR", place.path()).env("PATH", path.path());
    let mut owner = Owner::with(command).unwrap();
    assert_eq!(stat(owner.minder).unwrap()[2], owner.minder.to_string(), "without setsid: a process group of its own");
    send(owner.minder, Signal::SIGKILL);
    owner.end(Signal::SIGKILL);
    assert!(answers(&owner.socket), "nothing ties it to its minder");
    let _next = owner_in(place.path());
    assert!(stat(owner.server).is_none());
    assert!(!owner.home().exists());
}

/// Starts with these variables, which must fail in one line; returns it.
fn refused(variables: &[(&str, &Path)]) -> String {
    let mut command = Owner::command();
    command.envs(variables.iter().copied());
    match Owner::with(command) {
        Ok(_) => panic!("it started"),
        Err(line) => line,
    }
}

fn assert_empty(dir: &Path) {
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

#[test]
fn a_program_that_is_no_server_is_named() {
    let place = tempfile::tempdir().unwrap();
    let with = |program: &Path| refused(&[("TMPDIR", place.path()), ("GRISTMILL_REDIS_SERVER", program)]);
    let line = with(Path::new("/bin/true"));
    assert_eq!(line, "the private Redis did not start: /bin/true ended with exit code 0 and said nothing");
    let line = with(Path::new("/bin/cat"));
    assert!(line.starts_with("the private Redis did not start: ") && line.contains("cat"), "{line}");
    let line = with(Path::new("/etc/passwd"));
    assert_eq!(line, "GRISTMILL_REDIS_SERVER=/etc/passwd is not an executable file");
    assert_empty(place.path());
}

#[test]
fn a_temporary_directory_that_cannot_be_used_is_named() {
    let line = refused(&[("TMPDIR", Path::new("/proc"))]);
    assert!(line.starts_with("cannot make a private directory in /proc (TMPDIR names another): "), "{line}");
    let line = refused(&[("TMPDIR", Path::new("/does/not/exist"))]);
    let why = "No such file or directory (os error 2)";
    assert_eq!(line, format!("cannot make a private directory in /does/not/exist (TMPDIR names another): {why}"));
}

#[test]
fn a_long_temporary_directory_is_not_used() {
    let place = tempfile::tempdir().unwrap();
    let long = place.path().join("a".repeat(100));
    fs::create_dir(&long).unwrap();
    let owner = owner_in(&long);
    assert!(owner.home().starts_with("/tmp") && answers(&owner.socket));
    assert_empty(&long);
}
