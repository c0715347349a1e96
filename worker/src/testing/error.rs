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
    #[error("the private Redis does not answer: {0}; see that the machine has memory and disk left, and try again")]
    Redis(#[from] RedisError),
    /// The program cannot be run.
    #[error("cannot run the worker {}: {error}; build it, or give the path of one that is built", shown(program))]
    Program {
        /// Which.
        program: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The worker has ended.
    #[error(
        "the worker {} has {how}; see to what it complains of, and that it is a worker; it said: {said}",
        shown(program)
    )]
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
        "the worker {} offers no kernels, or not all of its consumers work, after {} s; see to what it complains of, or \
         give it longer (MillOptions::within); it said: {said}",
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
    #[error(
        "the worker {} was told to end and still runs; see which of its kernels does not end; it said: {said}",
        shown(program)
    )]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_to_do() {
        let (program, said) = (PathBuf::from("/bin/worker"), "no disk".to_owned());
        let redis = RedisError::from((redis::ErrorKind::Io, "gone"));
        let name = gristmill_shared::Namespace::new("{").unwrap_err();
        let errors = [
            MillError::Redis(redis),
            MillError::Program { program: program.clone(), error: io::ErrorKind::NotFound.into() },
            MillError::Ended { program: program.clone(), how: "ended".to_owned(), said: said.clone() },
            MillError::NotReady { program: program.clone(), within: Duration::from_secs(1), said: said.clone() },
            MillError::Runs { program, said },
            MillError::Namespace(name.to_string()),
        ];
        for error in errors {
            // A new variant does not compile until it is here; it should be above, too.
            let advice = match error {
                // Its own crate's.
                MillError::Server(_) => "",
                MillError::Redis(_) => "; see that the machine",
                MillError::Program { .. } => "; build it",
                MillError::Ended { .. } => "; see to what it complains of",
                MillError::NotReady { .. } => "give it longer",
                MillError::Runs { .. } => "; see which of its kernels",
                MillError::Namespace(_) => "use 1 to 32 characters",
            };
            assert!(error.to_string().contains(advice), "{error}");
        }
    }
}
