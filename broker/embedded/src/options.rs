use std::path::PathBuf;

use crate::{EmbeddedError, EmbeddedRedis};

/// Whether the server writes an append-only file, and how often it reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppendOnly {
    /// Nothing is written: all data is gone with the process.
    #[default]
    Off,
    /// Written at once, on disk within about a second.
    EverySecond,
    /// On disk before a call is answered.
    Always,
}

/// How a private server is set up. The default keeps nothing and listens on a Unix socket only.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedOptions {
    /// Whether data survives a restart.
    pub appendonly: AppendOnly,
    /// Limit of memory in bytes; writes beyond it are refused.
    pub maxmemory: Option<u64>,
    /// A password that clients must give.
    pub requirepass: Option<String>,
    /// Where the data stands. It is created if it is missing, and kept. Absent: a temporary
    /// directory that goes with the server.
    pub dir: Option<PathBuf>,
    /// Listen on a free TCP port of the loopback too; [`EmbeddedRedis::url`] then names that port.
    pub tcp: bool,
    /// Further lines of the server's configuration: name and the arguments as they stand there.
    pub extra: Vec<(String, String)>,
}

impl EmbeddedOptions {
    /// The default set-up.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`EmbeddedOptions::appendonly`].
    pub fn appendonly(mut self, appendonly: AppendOnly) -> Self {
        self.appendonly = appendonly;
        self
    }

    /// Sets [`EmbeddedOptions::maxmemory`].
    pub fn maxmemory(mut self, bytes: u64) -> Self {
        self.maxmemory = Some(bytes);
        self
    }

    /// Sets [`EmbeddedOptions::requirepass`].
    pub fn requirepass(mut self, password: impl Into<String>) -> Self {
        self.requirepass = Some(password.into());
        self
    }

    /// Sets [`EmbeddedOptions::dir`].
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Sets [`EmbeddedOptions::tcp`].
    pub fn tcp(mut self, tcp: bool) -> Self {
        self.tcp = tcp;
        self
    }

    /// Adds one line to [`EmbeddedOptions::extra`].
    pub fn extra(mut self, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.extra.push((name.into(), arguments.into()));
        self
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Result<EmbeddedRedis, EmbeddedError> {
        EmbeddedRedis::start_with(self)
    }
}
