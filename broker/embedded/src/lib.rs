//! A private `redis-server` as a child process: for tests, the demo and benchmarks.
//!
//! The server listens on a Unix socket in a directory that only its owner may enter. It ends with
//! its owner however the owner ends: a drop stops it, and a minder process (see `minder`) kills it
//! when the owner was killed.
//!
//! ```no_run
//! let redis = gristmill_embedded::EmbeddedRedis::start()?;
//! println!("{}", redis.url());
//! # Ok::<(), gristmill_embedded::EmbeddedError>(())
//! ```

mod config;
mod error;
mod find;
mod minder;
mod options;
mod probe;
mod server;

pub use error::EmbeddedError;
pub use find::{SERVER_VARIABLE, find_server, find_setpriv};
pub use options::{AppendOnly, EmbeddedOptions};
pub use server::EmbeddedRedis;
