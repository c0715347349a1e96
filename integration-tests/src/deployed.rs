//! A Redis as `deploy/` sets it up: its configuration, a password, TCP.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gristmill_embedded::find_server;
use redis::{Connection, FromRedisValue};
use tempfile::TempDir;

use crate::netns::Machine;
use crate::wait::eventually;

/// Needs no quoting, neither in a URL nor in a configuration.
const PASSWORD: &str = "Gristmill0Test1Password2";

/// The directory `deploy/` of the project.
pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// A running Redis with `deploy/redis.conf`. Dropping it ends it.
#[derive(Debug)]
pub struct DeployedRedis {
    server: Child,
    machine: Option<Machine>,
    directory: TempDir,
    address: String,
    port: u16,
}

impl DeployedRedis {
    /// On this machine, for programs of this machine.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback");
        let port = listener.local_addr().expect("a bound socket").port();
        drop(listener);
        Self::with(None, "127.0.0.1", port)
    }

    /// On a machine of our own, for the others. Tests reach it by a socket, which no network namespace hides.
    pub fn on(machine: &Machine) -> Self {
        Self::with(Some(machine), machine.address(), 6379)
    }

    fn with(machine: Option<&Machine>, address: &str, port: u16) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = directory.path().join("redis.conf");
        fs::write(&config, site(directory.path(), address, port)).expect("our own directory");
        let server = run(machine, directory.path());
        let redis = Self { server, machine: machine.cloned(), directory, address: address.to_owned(), port };
        redis.wait();
        redis
    }

    /// Kills the server and starts it again over the same data.
    pub fn crash_and_restart(&mut self) {
        self.end();
        self.server = run(self.machine.as_ref(), self.directory.path());
        self.wait();
    }

    /// How much of the append-only file has been written.
    pub fn written(&self) -> u64 {
        self.log_of_writes().metadata().expect("it is there").len()
    }

    /// Cuts the power: what was written behind this length has not reached the disk.
    pub fn lose_power(&mut self, length: u64) {
        self.end();
        let file = File::options().write(true).open(self.log_of_writes()).expect("it is there");
        file.set_len(length).expect("our own file");
        self.server = run(self.machine.as_ref(), self.directory.path());
        self.wait();
    }

    /// Beside it stand a file to begin with, and a list of both.
    fn log_of_writes(&self) -> PathBuf {
        let files = fs::read_dir(self.directory.path().join("appendonlydir")).expect("Redis 7 or newer");
        let paths = files.flatten().map(|entry| entry.path());
        let name = |path: &PathBuf| path.to_string_lossy().ends_with(".incr.aof");
        paths.filter(name).max().expect("an append-only file")
    }

    fn end(&mut self) {
        // Neither fails for a child that was not waited for.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    fn wait(&self) {
        eventually("Redis answers", || self.try_connect());
    }

    /// Where workers find it.
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@{}:{}", self.address, self.port)
    }

    /// Where every process of this computer finds it.
    pub fn local_url(&self) -> String {
        format!("redis+unix://{}?pass={PASSWORD}", self.socket().display())
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> Connection {
        self.try_connect().unwrap_or_else(|| panic!("Redis does not answer; it says:\n{}", self.log()))
    }

    /// One setting.
    pub fn setting(&self, name: &str) -> String {
        let answer: Vec<String> = self.command(&["CONFIG", "GET", name]);
        answer.into_iter().nth(1).unwrap_or_else(|| panic!("this Redis knows no {name}"))
    }

    /// Runs one command.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = redis::cmd(words[0]).arg(&words[1..]).query(&mut self.connect());
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn try_connect(&self) -> Option<Connection> {
        let url = format!("redis+unix://{}?pass={PASSWORD}", self.socket().display());
        let mut connection = redis::Client::open(url).expect("a valid URL").get_connection().ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok().map(|_| connection)
    }
}

impl Drop for DeployedRedis {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("Redis said:\n{}", self.log());
        }
    }
}

fn run(machine: Option<&Machine>, directory: &Path) -> Child {
    let program = find_server().expect("a redis-server");
    let mut command = match machine {
        Some(machine) => machine.command(program),
        None => {
            // The test may be killed; the server ends with the thread that starts it.
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
    };
    let log = File::options().create(true).append(true).open(directory.join("log")).expect("our own directory");
    command.arg(directory.join("redis.conf")).stdin(Stdio::null()).stdout(log).spawn().expect("redis-server runs")
}

/// `deploy/redis-site.conf` as an administrator fills it in, and a socket for the test.
fn site(directory: &Path, address: &str, port: u16) -> String {
    let (shipped, directory) = (deploy().join("redis.conf"), directory.display());
    let mut text = fs::read_to_string(deploy().join("redis-site.conf")).expect("it is part of the project");
    for (line, replacement) in [
        ("\ninclude /etc/redis/gristmill.conf\n", format!("\ninclude {}\n", shipped.display())),
        ("\ndir /var/lib/redis\n", format!("\ndir {directory}\n")),
        ("\nbind 127.0.0.1 -::1\n", format!("\nbind {address}\n")),
        ("\n# requirepass CHANGE-ME\n", format!("\nrequirepass {PASSWORD}\n")),
    ] {
        assert_eq!(text.matches(line).count(), 1, "deploy/redis-site.conf has one line {line:?}");
        text = text.replace(line, &replacement);
    }
    text + &format!("port {port}\nunixsocket {directory}/socket\nunixsocketperm 700\n")
}
