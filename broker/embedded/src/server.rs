use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{self, Place};
use crate::home::{self, Home};
use crate::minder::{Charge, Minder};
use crate::probe::{self, Answer};
use crate::process::{self, State};
use crate::{EmbeddedError, EmbeddedOptions, find_server, leftover};

/// How long a server may take to listen. One that loads its data says so, and takes as long as that takes.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Between two questions whether something has happened.
const TICK: Duration = Duration::from_millis(1);

/// A private server. It ends, and its temporary directory goes, when this is dropped.
#[derive(Debug)]
pub struct EmbeddedRedis {
    options: EmbeddedOptions,
    program: PathBuf,
    port: u16,
    data: PathBuf,
    config: String,
    pid: Option<u32>,
    minder: Minder,
    /// Held for as long as the data directory is ours; the minder and the server hold it, too.
    lock: Option<File>,
    home: Home,
}

impl EmbeddedRedis {
    /// Starts a server that keeps nothing.
    pub fn start() -> Result<Self, EmbeddedError> {
        Self::start_with(EmbeddedOptions::default())
    }

    /// Starts a server as the options say.
    pub fn start_with(options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let program = find_server()?;
        let home = Home::create()?;
        let (data, lock) = match &options.dir {
            Some(dir) => home::own(dir).map(|(dir, lock)| (dir, Some(lock)))?,
            None => (home.path().to_owned(), None),
        };
        let config = config::text(&options, &Place { socket: &home.socket, data: &data })?;
        let port = if options.tcp { free_port()? } else { 0 };
        let minder = start_minder(&Charge {
            dir: home.path(),
            program: &program,
            port,
            config: &config,
            kept: options.dir.is_some(),
            lock: &home.lock,
            data_lock: lock.as_ref(),
        })?;
        let mut server = Self { options, program, port, data, config, pid: None, minder, lock, home };
        server.launch()?;
        Ok(server)
    }

    /// The Unix socket.
    pub fn socket_path(&self) -> &Path {
        &self.home.socket
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
            None => format!("redis+unix://{}", self.home.socket.display()),
        }
    }

    /// Where to connect to, with the password if there is one.
    pub fn url_with_password(&self) -> String {
        let Some(password) = &self.options.requirepass else { return self.url() };
        let password = percent_encoded(password);
        match self.port() {
            Some(port) => format!("redis://:{password}@127.0.0.1:{port}"),
            None => format!("redis+unix://{}?pass={password}", self.home.socket.display()),
        }
    }

    /// The server's process, if it was started and neither killed nor stopped since.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The process that ends the server and removes its directory when the owner is gone.
    pub fn minder_pid(&self) -> u32 {
        self.minder.pid()
    }

    /// Kills the server with SIGKILL and waits until it is gone. [`EmbeddedRedis::restart`] brings it back.
    pub fn kill(&mut self) {
        self.end(false);
    }

    /// Ends the server in order, so that it writes what it has to write.
    pub fn stop(&mut self) {
        self.end(true);
    }

    /// Starts the server again with the same directory, socket, port and options; ends it first if
    /// it runs. Waits until it answers.
    pub fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.stop();
        if !self.minder.is_there() {
            self.minder = start_minder(&self.charge())?;
        }
        self.launch()
    }

    /// Stops the server from running (SIGSTOP), as a long stall of the machine does. Returns when it stands.
    pub fn pause(&self) -> Result<(), EmbeddedError> {
        self.signal("STOP")?;
        while self.state() == State::Runs {
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Lets a paused server run again.
    pub fn resume(&self) -> Result<(), EmbeddedError> {
        self.signal("CONT")
    }

    /// Whether the process is there (it may be paused).
    pub fn is_running(&self) -> bool {
        self.state() != State::Gone
    }

    fn state(&self) -> State {
        self.pid.map_or(State::Gone, |pid| process::state(pid, self.minder.pid()))
    }

    fn signal(&self, name: &str) -> Result<(), EmbeddedError> {
        if !self.is_running() {
            return Err(EmbeddedError::NotRunning);
        }
        self.minder.signal(name).map_err(EmbeddedError::io(format!("send SIG{name} to the private Redis")))
    }

    /// Returns the server's exit code, if it was there to be ended.
    fn end(&mut self, in_order: bool) -> Option<String> {
        self.pid.take()?;
        let ended = self.minder.end_server(in_order);
        if ended.is_err() {
            // The minder was killed. Its server follows it, or is left over.
            leftover::end(&self.home.socket);
        }
        ended.ok()
    }

    fn charge(&self) -> Charge<'_> {
        Charge {
            dir: self.home.path(),
            program: &self.program,
            port: self.port,
            config: &self.config,
            kept: self.options.dir.is_some(),
            lock: &self.home.lock,
            data_lock: self.lock.as_ref(),
        }
    }

    fn launch(&mut self) -> Result<(), EmbeddedError> {
        let pid = self.minder.start_server().map_err(EmbeddedError::io("have the minder start the private Redis"))?;
        self.pid = Some(pid);
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let answer = probe::ping(&self.home.socket, self.options.requirepass.as_deref());
            if !self.is_running() {
                return Err(EmbeddedError::Exited { said: self.last_words() });
            }
            match answer {
                Answer::Ready => return Ok(()),
                Answer::Refused(said) => return Err(EmbeddedError::Exited { said }),
                Answer::Loading => thread::sleep(TICK),
                Answer::NotYet(said) if Instant::now() > deadline => {
                    return Err(EmbeddedError::Silent { within: START_WITHIN, said });
                }
                Answer::NotYet(_) => thread::sleep(TICK),
            }
        }
    }

    /// The server logs to its standard output, so that complaints about its configuration stand in
    /// the same file.
    fn last_words(&mut self) -> String {
        let code = self.end(false).map_or_else(String::new, |code| format!(" with exit code {code}"));
        let log = fs::read_to_string(self.home.log()).unwrap_or_default();
        let said = log.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
        said.map(|line| without_stamp(&line).to_owned())
            .unwrap_or_else(|| format!("{} ended{code} and said nothing", self.program.display()))
    }
}

impl Drop for EmbeddedRedis {
    fn drop(&mut self) {
        // It ends the server as it does when we are killed: there is one way to go.
        self.minder.dismiss();
    }
}

fn start_minder(charge: &Charge<'_>) -> Result<Minder, EmbeddedError> {
    Minder::start(charge).map_err(EmbeddedError::io("start the minder (/bin/sh)"))
}

/// What a server logs, without its process and the time: `123:M 1 Jan 2026 00:00:00.000 # No more memory`.
fn without_stamp(line: &str) -> &str {
    let stamped = line.starts_with(|c: char| c.is_ascii_digit());
    line.split_once(" # ").filter(|_| stamped).map_or(line, |(_, words)| words)
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
