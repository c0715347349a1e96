//! Why there is no mill: each says what was tried, and what the worker said.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_embedded::EmbeddedError;
use redis::RedisError;

/// Why there is no mill.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MillError {
    /// The private Redis did not start.
    #[error(transparent)]
    Server(#[from] EmbeddedError),
    /// The private Redis did not answer.
    #[error("the private Redis does not answer: {0}")]
    Redis(#[from] RedisError),
    /// The program cannot be run.
    #[error("cannot run the worker {}: {error}", shown(program))]
    Program {
        /// Which.
        program: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The worker has ended.
    #[error("the worker {} has {how}; it said: {said}", shown(program))]
    Ended {
        /// Which.
        program: PathBuf,
        /// In which way.
        how: String,
        /// Its last lines.
        said: String,
    },
    /// The worker runs, but is not ready.
    #[error(
        "the worker {} offers no kernels, or not all of its consumers work, after {} s; it said: {said}",
        shown(program),
        within.as_secs()
    )]
    NotReady {
        /// Which.
        program: PathBuf,
        /// How long it was given.
        within: Duration,
        /// Its last lines.
        said: String,
    },
    /// The worker was told to end, and did not.
    #[error("the worker {} was told to end and still runs; it said: {said}", shown(program))]
    Runs {
        /// Which.
        program: PathBuf,
        /// Its last lines.
        said: String,
    },
    /// The default namespace is no namespace.
    #[error("{0}")]
    Namespace(String),
}

fn shown(program: &Path) -> std::path::Display<'_> {
    program.display()
}
