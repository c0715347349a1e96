//! Listens to the supervisor: a command to drain, or the end of the pipe.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::io::{Io, Mode};
use crate::control::Command;
use crate::slot::Leaving;

/// What an orphan takes to give its messages back.
const ORPHAN_GRACE: Duration = Duration::from_millis(500);
/// After the grace, what it takes to give back and leave.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// Listens for as long as the process lives.
pub async fn listen(io: Rc<Io>, control: OwnedFd) {
    let mut control = match Receiver::from_owned_fd(control) {
        Ok(control) => control,
        Err(error) => io.bug(&format!("the control pipe cannot be read: {error}")),
    };
    // An error is the end of the file: the supervisor is gone.
    while let Ok(byte) = control.read_u8().await {
        if Command::from_byte(byte) == Some(Command::Drain) {
            let grace = own_grace(io.config.grace);
            drain(&io, grace);
            let io = Rc::clone(&io);
            tokio::task::spawn_local(async move { leave_by(&io, grace, Leaving::Drain).await });
        }
    }
    io.orphaned.set(true);
    drain(&io, ORPHAN_GRACE);
    leave_by(&io, ORPHAN_GRACE, Leaving::Orphaned).await;
}

/// The supervisor kills when the grace is over; until then the consumer has to have given back.
fn own_grace(grace: Duration) -> Duration {
    grace.saturating_sub((grace / 5).min(2 * LEAVE_WITHIN))
}

fn drain(io: &Io, grace: Duration) {
    let by = Instant::now() + grace;
    io.drain_by.set(Some(io.drain_by.get().map_or(by, |earlier| earlier.min(by))));
    if io.mode.get() == Mode::Working {
        io.mode.set(Mode::Draining);
    }
    io.busy.notify_one();
    io.nudge.notify_one();
}

/// Ends the process when it could not leave in order: Redis is away, say. The agent takes back what
/// was in flight.
async fn leave_by(io: &Io, grace: Duration, why: Leaving) {
    let mut deadline = Instant::now() + grace + LEAVE_WITHIN;
    loop {
        if io.inflight.borrow().is_empty() {
            deadline = deadline.min(Instant::now() + 2 * LEAVE_WITHIN);
        }
        if Instant::now() >= deadline {
            io.slot.leave(why);
            io.end_process();
        }
        tokio::time::sleep(LEAVE_WITHIN / 5).await;
    }
}
