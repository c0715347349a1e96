//! `exec`, the kernel that runs a program: what it takes and what it returns.
//!
//! Workers offer it only where they are told to, by patterns of the commands that they allow
//! (`--allow-exec`). No shell is involved: what is run is the program and its arguments as they stand.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::kernel::{Bytes, Kernel};

/// Of each output stream so much is kept unless asked for otherwise, bytes: its end.
pub const OUTPUT_BYTES: u64 = 1 << 20;
/// Most that can be asked for, so that both streams fit into one blob.
pub const OUTPUT_BYTES_MAX: u64 = 15 << 20;
/// Of each output stream a failed task keeps no more than this.
pub const FAILURE_OUTPUT_BYTES: usize = 6 * 1024;

/// Kind of the failure of a program that ended with another exit code than 0.
pub const KIND_EXIT: &str = "exit";
/// Kind of the failure of a program that a signal ended.
pub const KIND_SIGNAL: &str = "signal";
/// Kind of the failure of a command that the worker does not allow.
pub const KIND_NOT_ALLOWED: &str = "not_allowed";
/// Kind of the failure of a command that cannot be started.
pub const KIND_START: &str = "start";

/// The kernel `exec` as producers see it.
#[derive(Debug, Clone, Copy)]
pub struct Exec;

impl Kernel for Exec {
    const NAME: &'static str = "exec";
    type Args = ExecArgs;
    type Output = ExecOutput;
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecArgs {
    /// The program, by its name on PATH or by an absolute path, and its arguments.
    #[schemars(length(min = 1))]
    pub argv: Vec<String>,
    /// What the program reads from stdin; without it stdin is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_or_bytes")]
    pub stdin: Option<Bytes>,
    /// Environment variables, of those that the worker allows (`--allow-exec-env`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The directory to run it in, an absolute path beneath one that the worker allows (`--allow-exec-dir`); without
    /// it, that of the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Of stdout and of stderr so many bytes at the end are kept, at most 15 MiB [default: 1 MiB].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = OUTPUT_BYTES_MAX))]
    pub output_max: Option<u64>,
}

impl ExecArgs {
    /// A command, with everything else as it is by default.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// How a program ended, and what it said. A failed task has the same as its details, with the last 6 KiB of each
/// stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ExecOutput {
    /// Its exit code, unless a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The end of what it wrote to stdout.
    pub stdout: Bytes,
    /// The end of what it wrote to stderr.
    pub stderr: Bytes,
    /// How much it wrote to stdout.
    pub stdout_bytes: u64,
    /// How much it wrote to stderr.
    pub stderr_bytes: u64,
    /// Processor time in user mode, of the program and of those that it waited for.
    pub user_ms: u64,
    /// The same in the system.
    pub system_ms: u64,
    /// The most memory that one of these processes held; never less than the worker's own process that started it.
    pub max_rss_bytes: u64,
    /// How long it ran.
    pub run_ms: u64,
    /// The attempt at which it ended so, from 1; 0: a worker of another version did not say.
    #[serde(default)]
    pub attempt: u16,
}

/// A text is taken as its bytes, so that nobody has to write base64 for it.
fn text_or_bytes(generator: &mut SchemaGenerator) -> Schema {
    let bytes = Bytes::json_schema(generator);
    json_schema!({ "anyOf": [{ "type": "string" }, bytes, { "type": "null" }] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn what_is_not_asked_for_takes_no_room() {
        let args = ExecArgs::new(["true"]);
        assert_eq!(codec::encode(&args).unwrap().len(), 1 + 5 + 1 + 5);
        assert_eq!(codec::decode::<ExecArgs>(&codec::encode(&args).unwrap()).unwrap(), args);
    }

    #[test]
    fn a_misspelt_field_is_an_error() {
        let args = codec::encode(&BTreeMap::from([("argv", vec!["true"]), ("agrv", vec![])])).unwrap();
        assert!(codec::decode::<ExecArgs>(&args).unwrap_err().to_string().contains("agrv"));
    }

    #[test]
    fn stdin_may_be_a_text() {
        #[derive(Serialize)]
        struct Plain {
            argv: [&'static str; 1],
            stdin: &'static str,
        }
        let args: ExecArgs = codec::decode(&codec::encode(&Plain { argv: ["cat"], stdin: "häl" }).unwrap()).unwrap();
        assert_eq!(args.stdin, Some(Bytes("häl".into())));
    }
}
