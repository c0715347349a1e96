//! A small process that is the server's parent, and outlives its owner just long enough to clean up.
//!
//! It reads from a socket whose other end only the owner holds. The end of file there means that the owner
//! is gone, however it went; the minder then ends the server and removes its directory. It stands in a
//! session of its own, so that a Ctrl-C reaches the owner first and Redis last.
//!
//! A parent-death signal from the owner would not do: it fires when the *thread* ends that spawned the
//! child, and test runners start every test on a thread of its own. From the minder, which has one thread,
//! it does: the server dies with it, where the system has `setpriv`. Where it has not, a server whose
//! minder was killed goes on until the next start of any owner (see `sweep`).

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::find::{find_setpriv, find_setsid};

const SCRIPT: &str = include_str!("minder.sh");
/// In the private directory, so that a list of processes shows a name instead of the whole script.
const NAME: &str = "gristmill-minder";
/// Longer than the minder ever takes to answer: it gives a server 10 s to end.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// What a minder looks after.
pub(crate) struct Charge<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) program: &'a Path,
    pub(crate) port: u16,
    pub(crate) config: &'a str,
    /// What ends the server gives it time to write what it has to write.
    pub(crate) kept: bool,
    /// Locks that are held for as long as the minder lives: of the directory, of the data.
    pub(crate) lock: &'a File,
    pub(crate) data_lock: Option<&'a File>,
}

#[derive(Debug)]
pub(crate) struct Minder {
    child: Child,
    owner: UnixStream,
}

impl Minder {
    /// Starts a minder, which has no server yet.
    pub(crate) fn start(charge: &Charge<'_>) -> io::Result<Self> {
        let (owner, end) = UnixStream::pair()?;
        owner.set_read_timeout(Some(ANSWERS_WITHIN))?;
        let data_lock = charge.data_lock.map(File::try_clone).transpose()?;
        let script = charge.dir.join(NAME);
        fs::write(&script, SCRIPT)?;
        let child = shell()
            .arg(script)
            .arg(charge.dir)
            .arg(find_setpriv().unwrap_or_default())
            .arg(charge.program)
            .arg(charge.port.to_string())
            .current_dir("/")
            .stdin(OwnedFd::from(end))
            .stdout(charge.lock.try_clone()?)
            .stderr(data_lock.map_or_else(Stdio::null, Stdio::from))
            .spawn()?;
        let minder = Self { child, owner };
        let mut text = String::new();
        for line in charge.config.lines() {
            text += &format!("config {line}\n");
        }
        text += &format!("manner {}\n", manner(charge.kept));
        (&minder.owner).write_all(text.as_bytes())?;
        Ok(minder)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is there.
    pub(crate) fn is_there(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Starts a server; returns its pid.
    pub(crate) fn start_server(&self) -> io::Result<u32> {
        let answer = self.ask("start")?;
        answer.parse().map_err(|_| io::Error::other(format!("it answered {answer:?}")))
    }

    /// Ends the server and waits until it is gone; returns its exit code as shells tell it.
    pub(crate) fn end_server(&self, in_order: bool) -> io::Result<String> {
        self.ask(&format!("end {}", manner(in_order)))
    }

    /// Signals the server: the minder knows best whether the pid is still its own.
    pub(crate) fn signal(&self, name: &str) -> io::Result<()> {
        match self.ask(&format!("signal {name}"))?.as_str() {
            "0" => Ok(()),
            _ => Err(io::Error::other("there is no such process")),
        }
    }

    /// Ends server, directory and minder, and waits for it.
    pub(crate) fn dismiss(&mut self) {
        // It fails if the minder is gone, which is as well.
        let _ = self.owner.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }

    /// One command, one line as the answer; nobody else reads at the same time.
    fn ask(&self, command: &str) -> io::Result<String> {
        (&self.owner).write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        if BufReader::new(&self.owner).read_line(&mut answer)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is gone"));
        }
        Ok(answer.trim_end().to_owned())
    }
}

fn manner(in_order: bool) -> &'static str {
    if in_order { "kept" } else { "now" }
}

/// A shell in a session of its own; without `setsid` in a process group of its own, which a Ctrl-C does not
/// reach either.
fn shell() -> Command {
    let Some(setsid) = find_setsid() else {
        let mut shell = Command::new("/bin/sh");
        shell.process_group(0);
        return shell;
    };
    // It becomes the shell, since a child that was just forked leads no group.
    let mut shell = Command::new(setsid);
    shell.arg("/bin/sh");
    shell
}
