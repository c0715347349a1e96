//! Exit codes, and the one line that goes with them.

use std::process::ExitCode;

use gristmill::shared::connection::ConnectionError;
use gristmill::{ClientError, TaskError};

use crate::table::plain;

/// How a command ends that did not go well.
#[derive(Debug)]
pub struct Exit {
    code: u8,
    message: Option<String>,
}

impl Exit {
    /// A task did not succeed.
    pub const TASK: u8 = 1;
    /// Bad usage, bad input, bad arguments for the kernel; also a file that cannot be read or written: an output that
    /// lacks lines must not look like one in which some tasks failed.
    pub const USAGE: u8 = 2;
    /// Redis unreachable or refusing.
    pub const REDIS: u8 = 3;
    /// `--timeout` passed; the work continues.
    pub const TIMEOUT: u8 = 4;
    /// No such batch, task, queue, kernel.
    pub const UNKNOWN: u8 = 5;
    /// Refused: queue full, or Redis near its memory limit.
    pub const REFUSED: u8 = 6;
    /// A bug.
    pub const BUG: u8 = 70;
    /// Ended by Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
    /// Ended by SIGTERM.
    pub const TERMINATED: u8 = 143;
    /// Nobody reads stdout any more.
    pub const CLOSED: u8 = 141;
    /// `exec` counts the jobs that failed up to here; more are told as one more.
    const COUNT_MAX: u8 = 100;
    /// The other codes of `exec` stand so far above the usual ones, and beside its counts.
    const BESIDE_COUNTS: u8 = 120;

    /// Ends with a line on stderr.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// Ends without a word: all is said already, or nobody listens.
    pub fn silent(code: u8) -> Self {
        Self { code, message: None }
    }

    /// The same with a word about what to do, if it says anything.
    pub fn and_say(mut self, hint: &str) -> Self {
        if let Some(message) = &mut self.message {
            message.push_str("; ");
            message.push_str(hint);
        }
        self
    }

    /// Bad usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Self::USAGE, message)
    }

    /// What `exec` ends with after so many jobs that failed.
    pub fn count(failed: u64) -> u8 {
        u8::try_from(failed).unwrap_or(u8::MAX).min(Self::COUNT_MAX + 1)
    }

    /// The same for `exec`, where a small code would be a count. What signals leave is above them anyway.
    pub fn beside_counts(mut self) -> Self {
        if self.code < Self::BESIDE_COUNTS {
            self.code += Self::BESIDE_COUNTS;
        }
        self
    }

    /// The code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Says what there is to say.
    pub fn say(&self) {
        if let Some(message) = &self.message {
            crate::say!("gristmill: {}", one_line(message));
        }
    }

    /// Says it, and becomes the code for the system.
    pub fn report(self) -> ExitCode {
        self.say();
        ExitCode::from(self.code)
    }
}

/// Errors are one line, whatever a kernel or Redis says, and none of it commands the terminal.
pub fn one_line(text: &str) -> String {
    plain(&text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" "))
}

impl From<ClientError> for Exit {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Connection(ConnectionError::BadUrl { .. } | ConnectionError::NoTls { .. }) => Self::USAGE,
            ClientError::Connection(_) | ClientError::Refused { .. } => Self::REDIS,
            ClientError::QueueFull { .. }
            | ClientError::MemoryLimit(_)
            | ClientError::SharedTooLarge { .. }
            | ClientError::ResultBudget { .. } => Self::REFUSED,
            ClientError::BlobGone(_)
            | ClientError::NoSuchBatch(_)
            | ClientError::ResultsExpired { .. }
            | ClientError::BatchGone(_)
            | ClientError::BatchSealed(_)
            | ClientError::NoSuchTask(_) => Self::UNKNOWN,
            ClientError::Codec(_) | ClientError::Name(_) | ClientError::Invalid(_) | ClientError::KeyReused { .. } => {
                Self::USAGE
            }
            _ => Self::BUG,
        };
        Self::new(code, error.to_string())
    }
}

impl From<TaskError> for Exit {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Client(error) => error.into(),
            TaskError::Delivered(_) | TaskError::OutputGone(_) => Self::new(Self::UNKNOWN, error.to_string()),
            error => Self::new(Self::TASK, error.to_string()),
        }
    }
}

/// Writing to stdout failed: usually nobody reads it any more.
impl From<std::io::Error> for Exit {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::silent(Self::CLOSED);
        }
        Self::new(Self::USAGE, format!("cannot write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_stay_on_one_line() {
        assert_eq!(one_line("panicked at x:\r\n  boom\n\n"), "panicked at x: boom");
    }

    #[test]
    fn a_count_is_never_an_error_of_exec() {
        assert_eq!([0, 1, 100, 101, 256, u64::MAX].map(Exit::count), [0, 1, 100, 101, 101, 101]);
        let beside = |code| Exit::silent(code).beside_counts().code();
        let own = [Exit::USAGE, Exit::REDIS, Exit::TIMEOUT, Exit::UNKNOWN, Exit::REFUSED, Exit::BUG];
        assert_eq!(own.map(beside), [122, 123, 124, 125, 126, 190]);
        let signals = [Exit::INTERRUPTED, Exit::TERMINATED, Exit::CLOSED];
        assert_eq!(signals.map(beside), signals);
    }

    #[test]
    fn no_error_commands_the_terminal() {
        assert_eq!(one_line("\x1b[2Jgone\x07 \u{9b}31mred"), " [2Jgone   31mred");
    }
}
