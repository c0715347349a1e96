//! Servers that have outlived owner and minder: both were killed, and the system has no `setpriv`, or the
//! minder was killed just as it started the server.

use std::path::Path;

/// Ends the server that listens on this socket, if there is one, and waits until it has ended.
#[cfg(target_os = "linux")]
pub(crate) fn end(socket: &Path) {
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::net::sockopt::socket_peercred;
    use rustix::process::{Signal, kill_process};

    const IN_ORDER: Duration = Duration::from_secs(5);
    const AT_ALL: Duration = Duration::from_secs(10);

    let since = Instant::now();
    // Whoever listens lives: a dead server's socket refuses. So the pid is that of the server, and nobody else's.
    while let Ok(stream) = UnixStream::connect(socket)
        && let Ok(peer) = socket_peercred(&stream)
        && since.elapsed() < AT_ALL
    {
        let signal = if since.elapsed() < IN_ORDER { Signal::TERM } else { Signal::KILL };
        // It may end at this moment.
        let _ = kill_process(peer.pid, signal);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Other systems do not tell who listens; a server that was left over there stays.
#[cfg(not(target_os = "linux"))]
pub(crate) fn end(_socket: &Path) {}
