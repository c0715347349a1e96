//! Death certificates: what is known of a process that died while it ran a task.

use serde::{Deserialize, Serialize};

/// Why a consumer died (DESIGN: crash, loss, limit, ordered).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeathCause {
    /// By itself: a signal, an exit, or the kernel's out-of-memory killer.
    Crash,
    /// The machine is gone, or somebody sent SIGKILL.
    Loss,
    /// Its time limit passed.
    TimeLimit,
    /// Its memory limit passed.
    MemoryLimit,
    /// We wanted it: drain, recycle, cancel. Counts for nothing.
    Ordered,
}

impl DeathCause {
    /// The word for it in certificates and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Loss => "loss",
            Self::TimeLimit => "time_limit",
            Self::MemoryLimit => "memory_limit",
            Self::Ordered => "ordered",
        }
    }
}

/// What is known of a death.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Why it died.
    pub cause: DeathCause,
    /// One line for people, for instance "killed by SIGSEGV".
    pub summary: String,
    /// Which task of the message ran (0 is its first); none if that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// Number of the signal that ended the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Exit code, where it ended by exiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Whether the system wrote a core file.
    #[serde(default)]
    pub core_dumped: bool,
    /// Whether the system's out-of-memory killer struck, or the system refused memory and the process aborted.
    #[serde(default)]
    pub out_of_memory: bool,
    /// Largest resident size of the process, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// How long the task had run, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_ms: Option<u64>,
    /// The last progress note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// How far the task was, from 0 to 1, as it said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// The consumer.
    pub consumer: String,
    /// The host it ran on, as its worker calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl Certificate {
    /// A certificate that knows only the cause: for a consumer that nobody saw die.
    pub fn unseen(cause: DeathCause, consumer: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            cause,
            summary: summary.into(),
            item: None,
            signal: None,
            exit_code: None,
            core_dumped: false,
            out_of_memory: false,
            peak_rss_bytes: None,
            run_ms: None,
            progress: None,
            fraction: None,
            consumer: consumer.into(),
            host: None,
        }
    }
}
