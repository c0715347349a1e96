//! Asks before something is destroyed.

use std::io::{IsTerminal, Write};

use crate::exit::Exit;

/// Whether to go on: `yes` says so, or whoever sits at the terminal. Where nobody sits, only `yes` does.
pub async fn confirm(question: &str, yes: bool) -> Result<bool, Exit> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Exit::usage(format!("{question} Nobody can be asked here: repeat the command with --yes")));
    }
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let (done, answer) = tokio::sync::oneshot::channel();
    // On a thread of its own, so that a signal can end the command meanwhile.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        let _ = done.send(read.map(|_| line));
    });
    let answer = answer.await.map_err(|_| Exit::new(Exit::BUG, "the thread that read the answer is gone"))?;
    let answer = answer.map_err(|error| Exit::usage(format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
