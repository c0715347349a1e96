//! Listens to the supervisor: a command to leave, or the end of the pipe.

use std::os::fd::OwnedFd;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::control::Command;

/// Returns when the agent has to leave, or when nobody is there who could tell.
pub async fn told(control: OwnedFd) {
    let mut control = match Receiver::from_owned_fd(control) {
        Ok(control) => control,
        Err(error) => return tracing::error!(%error, "the control pipe cannot be read"),
    };
    while let Ok(byte) = control.read_u8().await {
        if Command::from_byte(byte) == Some(Command::Drain) {
            return;
        }
    }
}
