//! Asks a server whether it answers.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What a server said to a PING.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ready,
    /// Not yet: it is loading its data.
    Loading,
    /// Not yet: it does not listen.
    NotYet(String),
    /// It refuses us, and will go on doing so.
    Refused(String),
}

pub(crate) fn ping(socket: &Path, password: Option<&str>) -> Answer {
    match ask(socket, password) {
        Ok(reply) if reply == "+PONG" => Answer::Ready,
        Ok(reply) if reply.starts_with("-LOADING") => Answer::Loading,
        Ok(reply) => Answer::Refused(reply),
        Err(error) => Answer::NotYet(error.to_string()),
    }
}

fn ask(socket: &Path, password: Option<&str>) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    // A server that hangs must not hang us; the caller tries again until its own deadline.
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut request = Vec::new();
    if let Some(password) = password {
        write!(request, "*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len())?;
    }
    request.extend_from_slice(b"PING\r\n");
    stream.write_all(&request)?;
    let mut replies = BufReader::new(stream);
    if password.is_some() {
        let reply = line(&mut replies)?;
        if reply != "+OK" {
            return Ok(reply);
        }
    }
    line(&mut replies)
}

fn line(replies: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if replies.read_line(&mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
    }
    Ok(line.trim_end().to_owned())
}
