//! What became of a program: a result, or an error that says why.

use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;

use gristmill_shared::exec::{ExecArgs, ExecOutput, FAILURE_OUTPUT_BYTES, KIND_EXIT, KIND_SIGNAL, KIND_START};
use gristmill_shared::{Bytes, KernelError};
use nix::sys::signal::Signal;

use super::refused;
use super::running::Ran;

/// Longest line of stderr in a message, characters.
const LINE_MAX: usize = 300;

/// The result of a program that ended well, or the failure of one that did not.
pub(super) fn report(ran: Ran, attempt: u16) -> Result<ExecOutput, KernelError> {
    if ran.told.ended {
        return Err(KernelError::fatal("the program was ended because its task was cancelled"));
    }
    let status = ran.spent.reaped.status;
    let asked = if ran.told.limit { " after its soft time limit" } else { "" };
    let output = output(ran, attempt);
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(output),
        (Some(code), _) => Err(failure(KIND_EXIT, format!("exit status {code}{asked}"), output)),
        (None, Some(signal)) => {
            let name = Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |name| name.to_string());
            let core = if status.core_dumped() { " (core dumped)" } else { "" };
            Err(failure(KIND_SIGNAL, format!("killed by {name}{core}{asked}"), output))
        }
        (None, None) => Err(failure(KIND_SIGNAL, format!("ended with {status}"), output)),
    }
}

fn output(ran: Ran, attempt: u16) -> ExecOutput {
    let status = ran.spent.reaped.status;
    ExecOutput {
        exit_code: status.code(),
        signal: status.signal(),
        stdout_bytes: ran.stdout.total(),
        stderr_bytes: ran.stderr.total(),
        stdout: Bytes(ran.stdout.into_bytes()),
        stderr: Bytes(ran.stderr.into_bytes()),
        user_ms: ran.spent.user.as_millis() as u64,
        system_ms: ran.spent.system.as_millis() as u64,
        max_rss_bytes: ran.spent.reaped.peak_rss_bytes,
        run_ms: ran.run.as_millis() as u64,
        attempt,
    }
}

fn failure(kind: &str, mut message: String, mut output: ExecOutput) -> KernelError {
    if let Some(line) = last_line(&output.stderr) {
        message = format!("{message}: {line}");
    }
    for stream in [&mut output.stdout.0, &mut output.stderr.0] {
        stream.drain(..stream.len().saturating_sub(FAILURE_OUTPUT_BYTES));
    }
    KernelError::new(message).kind(kind).details(&output)
}

/// The last line that says something.
fn last_line(stderr: &[u8]) -> Option<String> {
    let line = stderr.rsplit(|byte| matches!(byte, b'\n' | b'\r')).find(|line| !line.trim_ascii().is_empty())?;
    // No more than can be shown, also of a stream without a line break.
    let line = &line[..line.len().min(8 * LINE_MAX)];
    Some(shortened(&String::from_utf8_lossy(line)))
}

/// A text that is fit for one line of a message.
pub(super) fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(plain).collect();
    let text = text.trim();
    let mut short: String = text.chars().take(LINE_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Why a program that is allowed does not run.
pub(super) fn not_started(args: &ExecArgs, error: &io::Error) -> KernelError {
    let program = shortened(&args.argv[0]);
    if error.kind() == ErrorKind::ArgumentListTooLong {
        let bytes: usize = args.argv.iter().map(|element| element.len() + 1).sum();
        let elements = args.argv.len();
        return refused(format!(
            "this command of {program:?} is too long for the system: {elements} elements, {bytes} bytes; use stdin"
        ));
    }
    KernelError::new(format!("{program:?} cannot be run: {error}")).kind(KIND_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_taken() {
        assert_eq!(last_line(b"first\nTraceback\nValueError: no\n\n  \n").unwrap(), "ValueError: no");
        assert_eq!(last_line(b"10%\r50%\rdone").unwrap(), "done");
        assert_eq!(last_line(b"\x1b[31mred\x07\xff").unwrap(), "[31mred \u{fffd}");
        assert_eq!(last_line(b" \n\n"), None);
        assert_eq!(last_line(b""), None);
        let long = last_line(&b"x".repeat(1 << 20)).unwrap();
        assert_eq!((long.chars().count(), long.ends_with('…')), (LINE_MAX + 1, true));
    }
}
