//! A private Redis, and ways to look into it.

use gristmill::{Client, ClientBuilder};
use gristmill_embedded::{AppendOnly, EmbeddedOptions, EmbeddedRedis};
use gristmill_shared::{Header, Keys, Namespace};
use redis::{Commands, Connection, ConnectionLike, FromRedisValue};
use tempfile::TempDir;

use crate::wait::eventually;

/// A private Redis, with a connection of the test's own.
pub struct Redis {
    server: EmbeddedRedis,
    connection: Connection,
    /// Outlives the server, which writes into it.
    _data: Option<TempDir>,
}

impl Redis {
    /// A server that keeps nothing, on a Unix socket.
    pub fn start() -> Self {
        Self::with(EmbeddedOptions::new(), None)
    }

    /// A server that keeps everything: what it has answered is on disk.
    pub fn durable() -> Self {
        Self::kept(EmbeddedOptions::new().appendonly(AppendOnly::Always))
    }

    /// A server with a directory of its own, which stays over a restart.
    pub fn kept(options: EmbeddedOptions) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        Self::with(options.dir(data.path()), Some(data))
    }

    /// A server that is set up in a special way.
    pub fn special(options: EmbeddedOptions) -> Self {
        Self::with(options, None)
    }

    /// A server that listens on TCP too, so that it can tell its clients apart.
    pub fn tcp() -> Self {
        Self::with(EmbeddedOptions::new().tcp(true), None)
    }

    fn with(options: EmbeddedOptions, data: Option<TempDir>) -> Self {
        let server = options.start().expect("a private Redis");
        let connection = connect(&server.url());
        Self { server, connection, _data: data }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// A client of the default namespace.
    pub async fn client(&self) -> Client {
        self.client_builder().connect().await.expect("the private Redis answers")
    }

    /// A client with settings.
    pub fn client_builder(&self) -> ClientBuilder {
        Client::builder().endpoint(self.url())
    }

    /// The keys of the default namespace.
    pub fn keys(&self) -> Keys {
        Keys::new(&Namespace::new("gm").expect("a valid name"))
    }

    /// Another connection of the test's own.
    pub fn connect(&self) -> Connection {
        connect(&self.url())
    }

    /// Runs one command, its words separated by spaces.
    pub fn command<T: FromRedisValue>(&mut self, words: &str) -> T {
        let mut words = words.split_ascii_whitespace();
        let mut command = redis::cmd(words.next().expect("a command"));
        for word in words {
            command.arg(word);
        }
        command.query(&mut self.connection).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Messages in the normal lane of the queue `default`.
    pub fn depth(&mut self) -> u64 {
        self.command("LLEN {gm}:ready:default")
    }

    /// Headers of the messages in a list.
    pub fn headers(&mut self, list: &str) -> Vec<Header> {
        let messages: Vec<Vec<u8>> = self.connection.lrange(list, 0, -1).expect("a list");
        messages.iter().map(|bytes| Header::parse(bytes).expect("a message").0).collect()
    }

    /// All keys that match, sorted.
    pub fn matching(&mut self, pattern: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.command(&format!("KEYS {pattern}"));
        keys.sort();
        keys
    }

    /// Asserts that no consumer has left anything behind.
    pub fn assert_no_consumers(&mut self) {
        for pattern in ["{gm}:inflight:*", "{gm}:consumer:*", "{gm}:leases", "{gm}:suspects"] {
            assert_eq!(self.matching(pattern), [""; 0], "left behind");
        }
    }

    /// Waits until one consumer holds messages, and returns its id.
    pub fn wait_busy(&mut self) -> String {
        let prefix = "{gm}:inflight:";
        let key = eventually("a consumer that holds messages", || self.matching(&format!("{prefix}*")).pop());
        key[prefix.len()..].to_owned()
    }

    /// Kills the server and starts it again over the same data.
    pub fn crash_and_restart(&mut self) {
        self.server.kill();
        self.server.restart().expect("Redis starts again");
        self.connection = connect(&self.url());
    }

    /// The server's process.
    pub fn server(&mut self) -> &mut EmbeddedRedis {
        &mut self.server
    }
}

fn connect(url: &str) -> Connection {
    let client = redis::Client::open(url).expect("a valid URL");
    let mut connection = client.get_connection().expect("the private Redis answers");
    assert!(connection.check_connection(), "the private Redis answers");
    connection
}
