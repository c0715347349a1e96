use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a private server is not there. Every message is one line.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No server program was found.
    #[error(
        "no redis-server or valkey-server on PATH: install one (apt-get install redis-server) or name it in {}",
        crate::SERVER_VARIABLE
    )]
    NotInstalled,
    /// The variable names something that is no program.
    #[error("{}={} is not an executable file", crate::SERVER_VARIABLE, path.display())]
    NotExecutable {
        /// What the variable holds.
        path: PathBuf,
    },
    /// An option cannot stand in a server's configuration.
    #[error("the server option {name:?} is not valid: {why}")]
    BadOption {
        /// Its name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The data directory belongs to another server that runs.
    #[error("{} is in use by another private server: choose another directory", path.display())]
    DirectoryInUse {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that was named cannot be used.
    #[error("cannot {what}: {source}")]
    Directory {
        /// What was tried, and with which directory.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The server ended instead of answering.
    #[error("the private Redis did not start: {said}")]
    Exited {
        /// The last line that it logged.
        said: String,
    },
    /// The server runs, but does not answer.
    #[error("the private Redis did not answer within {} s: {said}", within.as_secs())]
    Silent {
        /// How long it was given.
        within: Duration,
        /// What the last attempt brought.
        said: String,
    },
    /// The server was killed or stopped, and not restarted.
    #[error("the private Redis is not running: restart it first")]
    NotRunning,
}

impl EmbeddedError {
    /// Keeps the operating system's own words: what makes directories adds the path, which stands in `what`.
    pub(crate) fn directory(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| {
            let said = source.to_string();
            let source = match said.split_once(" at path ") {
                Some((said, _)) => io::Error::new(source.kind(), said),
                None => source,
            };
            Self::Directory { what, source }
        }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}
