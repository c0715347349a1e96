//! A private `redis-server` as a child process: for `gristmill demo` and `dev`, tests and benchmarks.
//!
//! The server listens on a Unix socket in a directory that only its owner may enter. It ends with its
//! owner however the owner ends: a minder process is the server's parent, ends it when the owner is gone,
//! and removes the directory (see `minder`). If both were killed, the next start of any owner sweeps
//! what they left (see `home`).
//!
//! ```no_run
//! let redis = gristmill_embedded::EmbeddedRedis::start()?;
//! println!("{}", redis.url());
//! # Ok::<(), gristmill_embedded::EmbeddedError>(())
//! ```

mod config;
mod error;
mod find;
mod home;
mod leftover;
mod minder;
mod options;
mod probe;
mod process;
mod server;
mod worker;

pub use error::EmbeddedError;
pub use find::{SERVER_VARIABLE, find_program, find_server, find_setpriv, is_program};
pub use options::{AppendOnly, EmbeddedOptions};
pub use server::EmbeddedRedis;
pub use worker::{WorkerChild, how_it_ended};
