//! Ctrl-C and SIGTERM.

use crate::exit::Exit;

/// The signals that end a command.
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Listens from now on.
    pub fn listen() -> Result<Self, Exit> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |error| Exit::new(Exit::BUG, format!("cannot listen to signals: {error}"));
        // A file that may not grow any more is an error of the one who writes it, and no reason to die without a word. Once
        // there is a listener, whether or not it lives, nobody dies of it.
        signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32)).map(drop).map_err(failed)?;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Waits for the next one and returns the exit code that belongs to it.
    pub async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::INTERRUPTED,
            _ = self.terminate.recv() => Exit::TERMINATED,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Listens from now on.
    pub fn listen() -> Result<Self, Exit> {
        Ok(Self {})
    }

    /// Waits for the next one and returns the exit code that belongs to it.
    pub async fn next(&mut self) -> u8 {
        let _ = tokio::signal::ctrl_c().await;
        Exit::INTERRUPTED
    }
}
