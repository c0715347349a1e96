//! Reading what may keep its reader waiting: a terminal, a pipe that nobody writes to.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use tokio::sync::oneshot;

use crate::exit::Exit;

/// Works on a thread of its own, so that a signal can end the command meanwhile.
pub async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Exit> {
    let (to, from) = oneshot::channel();
    // Nobody waits any more if a signal came.
    std::thread::spawn(move || drop(to.send(work())));
    from.await.map_err(|_| Exit::new(Exit::BUG, "the thread that read the input is gone"))
}

/// The text on stdin, of at most so many bytes; `what` names it where it cannot be read.
pub async fn stdin_text(what: &'static str, bytes_max: u64) -> Result<String, Exit> {
    let bytes = on_thread(move || read_at_most(io::stdin().lock(), bytes_max)).await?;
    let bytes = bytes.map_err(|error| Exit::usage(format!("cannot read the {what} from stdin: {error}")))?;
    let bytes = bytes.ok_or_else(|| Exit::usage(format!("the {what} on stdin are longer than {bytes_max} bytes")))?;
    String::from_utf8(bytes).map_err(|_| Exit::usage(format!("cannot read the {what} from stdin: not UTF-8")))
}

/// A file of at most so many bytes.
pub async fn file(path: PathBuf, bytes_max: u64) -> Result<Vec<u8>, Exit> {
    let name = path.display().to_string();
    let bytes = on_thread(move || read_at_most(File::open(path)?, bytes_max)).await?;
    let bytes = bytes.map_err(|error| Exit::usage(format!("cannot read {name}: {error}")))?;
    bytes.ok_or_else(|| Exit::usage(format!("{name} is longer than {bytes_max} bytes")))
}

/// All that there is; none: there is more.
pub fn read_at_most(input: impl Read, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    input.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= bytes_max).then_some(bytes))
}
