//! `exec`: a program as a task. On offer only where an operator has allowed commands by patterns.
//!
//! [`flags`] reads what is allowed, [`pattern`] decides about a command, [`place`] finds its file and its directory,
//! [`environment`] says what it learns of the worker, [`running`] runs it, [`tree`] ends all that it has started,
//! [`tail`] keeps the end of what it writes, [`report`] says what became of it. No shell is involved.

mod environment;
mod flags;
mod pattern;
mod place;
mod report;
mod running;
mod tail;
#[cfg(test)]
mod tests;
mod tree;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use gristmill_shared::exec::{ExecArgs, ExecOutput, KIND_NOT_ALLOWED, OUTPUT_BYTES, OUTPUT_BYTES_MAX};
use gristmill_shared::{KernelError, Kernels, TaskContext, kernel, kernels};

use environment::{Inherited, Names};
pub(crate) use flags::ExecFlags;
use pattern::Pattern;
use place::Directory;

/// The longest element that Linux takes, without the zero at its end, bytes.
const ELEMENT_BYTES_MAX: usize = 128 * 1024 - 1;

/// What the operator of a worker allows.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    patterns: Vec<Pattern>,
    /// Variables that tasks may set.
    names: Names,
    /// Real paths of directories: programs may run in them and beneath.
    dirs: Vec<PathBuf>,
    inherited: Inherited,
}

/// What a worker with a [`Policy`] offers besides its own kernels.
pub(crate) fn offered() -> Kernels {
    kernels![exec]
}

/// Runs a program; no shell is involved.
///
/// `argv` is the program and its arguments. Its output is kept to the last `output_max` bytes of stdout and of stderr.
/// Another exit code than 0, or a signal, is a failed task: its message has the last line of stderr, its details have
/// what the result would have had. When the program has ended, all that it has started ends, too. At the soft time
/// limit and at a cancel its process group gets SIGTERM; at the time limit and at the memory limit all of it is killed.
///
/// It learns who it is from GRISTMILL_TASK, GRISTMILL_BATCH, GRISTMILL_INDEX and GRISTMILL_ATTEMPT, and gets no other
/// variable of the worker than PATH, HOME, USER, LANG, LC_*, TZ and TMPDIR.
#[kernel]
fn exec(ctx: &TaskContext, args: ExecArgs) -> Result<ExecOutput, KernelError> {
    ctx.state::<Policy>()?.run(ctx, &args)
}

impl Policy {
    fn run(&self, context: &TaskContext, args: &ExecArgs) -> Result<ExecOutput, KernelError> {
        let keep = check(args)?;
        if !self.patterns.iter().any(|pattern| pattern.allows(&args.argv)) {
            return Err(self.not_allowed(context, &args.argv));
        }
        let directory = args.cwd.as_ref().map(|cwd| Directory::open(cwd, &self.dirs)).transpose()?;
        let variables = self.inherited.with(context, &args.env, &self.names)?;
        let mut command = Command::new(place::program(&args.argv[0], &self.inherited.path)?);
        command.arg0(&args.argv[0]).args(&args.argv[1..]).env_clear().envs(variables);
        if let Some(directory) = &directory {
            command.current_dir(directory.path());
        }
        let stdin = args.stdin.as_deref().unwrap_or_default();
        let ran = running::run(command, stdin, keep, context).map_err(|error| report::not_started(args, &error))?;
        report::report(ran, context.attempt())
    }

    /// The operator sees what was asked for, the caller no more of the patterns than how many there are.
    fn not_allowed(&self, context: &TaskContext, argv: &[String]) -> KernelError {
        let (task, command) = (context.task(), report::shortened(&argv.join(" ")));
        tracing::warn!(%task, command, "no pattern of --allow-exec allows this command");
        let patterns = match self.patterns.len() {
            1 => "the one pattern".to_owned(),
            many => format!("any of the {many} patterns"),
        };
        let up = argv.iter().any(|element| pattern::ups(element) > 0);
        let why = if up { ", in which * stands for no .. in a path" } else { "" };
        refused(format!(
            "this worker does not allow this command of {:?}: it does not fit {patterns} of its --allow-exec{why}",
            report::shortened(&argv[0])
        ))
    }
}

/// Checks what has nothing to do with what is allowed; how many bytes of each stream are to be kept.
fn check(args: &ExecArgs) -> Result<usize, KernelError> {
    if args.argv.is_empty() {
        return Err(refused("argv is empty: name a program"));
    }
    for (place, element) in args.argv.iter().enumerate() {
        if element.contains('\0') {
            return Err(refused(format!("argv[{place}] has a NUL byte, which no program can be given")));
        }
        if element.len() > ELEMENT_BYTES_MAX {
            let bytes = element.len();
            return Err(refused(format!(
                "argv[{place}] has {bytes} bytes, and a program can be given {ELEMENT_BYTES_MAX} at most: use stdin"
            )));
        }
    }
    let keep = args.output_max.unwrap_or(OUTPUT_BYTES);
    if keep > OUTPUT_BYTES_MAX {
        return Err(refused(format!("output_max is {keep}: use at most {OUTPUT_BYTES_MAX}")));
    }
    Ok(keep as usize)
}

/// What no attempt can cure.
fn refused(message: impl Into<String>) -> KernelError {
    KernelError::fatal(message).kind(KIND_NOT_ALLOWED)
}
