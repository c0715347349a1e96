use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::config::{self, Place};
use crate::minder::Minder;
use crate::probe::{self, Answer};
use crate::{EmbeddedError, EmbeddedOptions, find_server};

/// How long a server may take to answer; one with data to load needs a while.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How long an orderly stop may take before the server is killed.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Between two questions whether something has happened.
const TICK: Duration = Duration::from_millis(2);

/// A private server. It ends, and its temporary directory goes, when this is dropped.
#[derive(Debug)]
pub struct EmbeddedRedis {
    options: EmbeddedOptions,
    program: PathBuf,
    port: u16,
    socket: PathBuf,
    data: PathBuf,
    child: Option<Child>,
    minder: Minder,
    /// Held for as long as the data directory is ours.
    _lock: Option<File>,
    home: TempDir,
}

impl EmbeddedRedis {
    /// Starts a server that keeps nothing.
    pub fn start() -> Result<Self, EmbeddedError> {
        Self::start_with(EmbeddedOptions::default())
    }

    /// Starts a server as the options say.
    pub fn start_with(options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let program = find_server()?;
        let home = tempfile::Builder::new()
            .prefix("gm-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(short_temporary_directory())
            .map_err(EmbeddedError::io("create a temporary directory"))?;
        let (data, lock) = match &options.dir {
            Some(dir) => own(dir).map(|(dir, lock)| (dir, Some(lock)))?,
            None => (home.path().to_owned(), None),
        };
        let minder = Minder::start(home.path()).map_err(EmbeddedError::io("start the minder (/bin/sh)"))?;
        let socket = home.path().join("redis.sock");
        let mut server = Self { options, program, port: 0, socket, data, child: None, minder, _lock: lock, home };
        if server.options.tcp {
            server.port = free_port()?;
        }
        server.launch()?;
        Ok(server)
    }

    /// The Unix socket.
    pub fn socket_path(&self) -> &Path {
        &self.socket
    }

    /// Where data and log stand.
    pub fn dir(&self) -> &Path {
        &self.data
    }

    /// The TCP port, if one was asked for.
    pub fn port(&self) -> Option<u16> {
        self.options.tcp.then_some(self.port)
    }

    /// Where to connect to, without the password.
    pub fn url(&self) -> String {
        match self.port() {
            Some(port) => format!("redis://127.0.0.1:{port}"),
            None => format!("redis+unix://{}", self.socket.display()),
        }
    }

    /// Where to connect to, with the password if there is one.
    pub fn url_with_password(&self) -> String {
        let Some(password) = &self.options.requirepass else { return self.url() };
        let password = percent_encoded(password);
        match self.port() {
            Some(port) => format!("redis://:{password}@127.0.0.1:{port}"),
            None => format!("redis+unix://{}?pass={password}", self.socket.display()),
        }
    }

    /// The server's process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills the server with SIGKILL and waits until it is gone. [`EmbeddedRedis::restart`] brings it back.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Neither can fail for a child that was not waited for.
        let _ = child.kill();
        let _ = child.wait();
        let _ = self.minder.watch(None);
    }

    /// Ends the server in order, so that it writes what it has to write.
    pub fn stop(&mut self) {
        if self.signal(Signal::SIGTERM).is_ok() {
            // A paused server would not see the signal.
            let _ = self.signal(Signal::SIGCONT);
            let deadline = Instant::now() + STOP_WITHIN;
            while self.is_running() && Instant::now() < deadline {
                thread::sleep(TICK);
            }
        }
        self.kill();
    }

    /// Starts the server again with the same directory, socket, port and options; ends it first if
    /// it runs. Waits until it answers.
    pub fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.stop();
        self.launch()
    }

    /// Stops the server from running (SIGSTOP), as a long stall of the machine does. Returns when it stands.
    pub fn pause(&self) -> Result<(), EmbeddedError> {
        let pid = self.signal(Signal::SIGSTOP)?;
        // WNOWAIT: an exit stays to be seen by whoever waits for the child.
        waitid(Id::Pid(pid), WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
            .map_err(|error| EmbeddedError::io("wait for the private Redis")(error.into()))?;
        Ok(())
    }

    /// Lets a paused server run again.
    pub fn resume(&self) -> Result<(), EmbeddedError> {
        self.signal(Signal::SIGCONT).map(drop)
    }

    /// Whether the process is there (it may be paused).
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn signal(&self, signal: Signal) -> Result<Pid, EmbeddedError> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let pid = pid.ok_or(EmbeddedError::NotRunning)?;
        signal::kill(pid, signal).map_err(|error| EmbeddedError::io(format!("send {signal}"))(error.into()))?;
        Ok(pid)
    }

    fn launch(&mut self) -> Result<(), EmbeddedError> {
        let config = config::text(&self.options, &Place { socket: &self.socket, data: &self.data })?;
        let log = self.log().map_err(EmbeddedError::io("open the log of the private Redis"))?;
        let error = log.try_clone().map_err(EmbeddedError::io("open the log of the private Redis"))?;
        let child = Command::new(&self.program)
            // The port stands here, so that a server whose configuration never arrives, because
            // its owner was killed just now, listens nowhere and ends.
            .args(["-", "--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(error)
            .process_group(0)
            .spawn()
            .map_err(EmbeddedError::io(format!("run {}", self.program.display())))?;
        let pid = child.id();
        let stdin = self.child.insert(child).stdin.take();
        // First the minder, then the configuration: no server ever runs that nobody would end.
        self.minder.watch(Some(pid)).map_err(EmbeddedError::io("tell the minder"))?;
        if let Some(mut stdin) = stdin
            && let Err(error) = stdin.write_all(config.as_bytes())
            && self.is_running()
        {
            return Err(EmbeddedError::io("configure the private Redis")(error));
        }
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let answer = probe::ping(&self.socket, self.options.requirepass.as_deref());
            if !self.is_running() {
                self.kill();
                return Err(EmbeddedError::Exited { said: self.last_words() });
            }
            match answer {
                Answer::Ready => return Ok(()),
                Answer::Refused(said) => return Err(EmbeddedError::Exited { said }),
                Answer::NotYet(said) if Instant::now() > deadline => {
                    return Err(EmbeddedError::Silent { within: START_WITHIN, said });
                }
                Answer::NotYet(_) => thread::sleep(TICK),
            }
        }
    }

    /// The server logs to its standard output, so that complaints about its configuration stand in
    /// the same file.
    fn log(&self) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.log_path())
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("redis.log")
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let said = log.lines().rev().find(|line| !line.trim().is_empty());
        said.unwrap_or("it said nothing").trim().to_owned()
    }
}

impl Drop for EmbeddedRedis {
    fn drop(&mut self) {
        // What is kept deserves an orderly end; what is not goes at once.
        if self.options.dir.is_some() {
            self.stop();
        } else {
            self.kill();
        }
        self.minder.dismiss();
    }
}

/// A socket's path has room for 107 bytes only.
fn short_temporary_directory() -> PathBuf {
    let dir = std::env::temp_dir();
    if dir.as_os_str().len() <= 64 { dir } else { PathBuf::from("/tmp") }
}

/// Creates the directory if need be, and sees that only one server uses it.
fn own(dir: &Path) -> Result<(PathBuf, File), EmbeddedError> {
    let what = || format!("use the directory {}", dir.display());
    fs::create_dir_all(dir).map_err(EmbeddedError::io(what()))?;
    let dir = dir.canonicalize().map_err(EmbeddedError::io(what()))?;
    let lock = File::create(dir.join("gristmill.lock")).map_err(EmbeddedError::io(what()))?;
    match lock.try_lock() {
        Ok(()) => Ok((dir, lock)),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::DirectoryInUse { path: dir }),
        Err(TryLockError::Error(error)) => Err(EmbeddedError::io(what())(error)),
    }
}

fn free_port() -> Result<u16, EmbeddedError> {
    let listener = TcpListener::bind(("127.0.0.1", 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(EmbeddedError::io("find a free port"))
}

fn percent_encoded(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}
