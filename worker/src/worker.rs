//! The library's way in: everything between `main` and the supervisor.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;

use gristmill_shared::{Kernels, events, size};

use crate::args::{self, Args, ArgsError};
use crate::config::WorkerConfig;
use crate::descriptors::Foreign;
use crate::roles::{EXIT_BUG, EXIT_OK};
use crate::{exec, logging, process, supervisor};

const EXIT_USAGE: u8 = 2;

/// What a preload function may return: nothing, or a `Result` whose error is shown to people.
pub trait PreloadOutcome {
    /// The error as text.
    fn into_result(self) -> Result<(), String>;
}

impl PreloadOutcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display> PreloadOutcome for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// A worker program in the making.
///
/// ```no_run
/// use std::process::ExitCode;
/// use gristmill_worker::{Kernels, Worker};
///
/// # fn kernels() -> Kernels { Kernels::default() }
/// fn main() -> ExitCode {
///     Worker::new(kernels()).preload(|| println!("loading the model")).main()
/// }
/// ```
pub struct Worker {
    kernels: Kernels,
    test_kernels: Option<fn() -> Kernels>,
    preload: Option<Box<dyn FnOnce() -> Result<(), String>>>,
}

/// Why a worker ends before its supervisor works: an exit code, and lines for people.
type Refusal = (u8, Vec<String>);

impl Worker {
    /// A worker that offers these kernels.
    pub fn new(kernels: Kernels) -> Self {
        Self { kernels, test_kernels: None, preload: None }
    }

    /// Runs `load` once, before the first process is forked: all consumers share what it leaves in
    /// memory, copy-on-write. It must leave no thread behind. Descriptors that it opens stay open in
    /// every consumer, with one offset for all.
    #[must_use]
    pub fn preload<R: PreloadOutcome>(mut self, load: impl FnOnce() -> R + 'static) -> Self {
        self.preload = Some(Box::new(|| load().into_result()));
        self
    }

    /// Kernels that are on offer only under `--test-kernels`.
    #[must_use]
    pub fn test_kernels(mut self, make: fn() -> Kernels) -> Self {
        self.test_kernels = Some(make);
        self
    }

    /// Reads the command line and works until it is told to stop. To be called from `main`, while the
    /// program has no other thread.
    pub fn main(self) -> ExitCode {
        match self.run() {
            Ok(code) => ExitCode::from(code),
            Err((code, lines)) => {
                lines.iter().for_each(|line| complain(line));
                ExitCode::from(code)
            }
        }
    }

    fn run(self) -> Result<u8, Refusal> {
        let foreign = Foreign::find().map_err(|error| bug(format!("cannot read /proc/self/fd: {error}")))?;
        let Args { mut config, password_shown, exec: policy } = match args::read(std::env::args_os()) {
            Ok(args) => args,
            Err(ArgsError::Values(lines)) => return Err((EXIT_USAGE, lines)),
            Err(ArgsError::Text(text)) => {
                // Nobody listens any more if stdout is closed.
                let _ = text.print();
                return Ok(EXIT_OK);
            }
        };
        logging::start(config.log_format).map_err(|line| (EXIT_USAGE, vec![line]))?;
        if password_shown {
            tracing::warn!(
                event = events::SETTING_DOUBTFUL,
                setting = "--redis",
                "a password on the command line is visible to every user of this machine: set GRISTMILL_REDIS instead"
            );
        }
        warn_of_memory(&config);
        let kernels = offered(self.kernels, config.test_kernels, self.test_kernels, policy.is_some())?;
        if let Some(policy) = policy {
            tracing::info!("tasks may run programs by exec that fit {}", policy.patterns());
            warn_of_programs(&policy);
            config.states.add(policy).map_err(|error| bug(error.to_string()))?;
        }
        if let Some(load) = self.preload {
            load().map_err(|error| (EXIT_USAGE, vec![format!("preload failed: {error}")]))?;
        }
        process::check_single_thread().map_err(|error| {
            bug(format!("{error}: start no thread before Worker::main, and let preload end those that it starts"))
        })?;
        let own = foreign.own().map_err(|error| bug(format!("cannot read /proc/self/fd: {error}")))?;
        let places = NonZeroUsize::new(config.consumers).unwrap_or(NonZeroUsize::MIN);
        let slots = process::map_slots(places).map_err(|error| bug(format!("cannot map shared memory: {error}")))?;
        supervisor::run(Arc::new(config), kernels, slots, own)
            .map_err(|error| bug(format!("the supervisor cannot go on: {}", error.desc())))
    }
}

/// Runs a worker with these kernels; the whole `main` of most worker programs.
pub fn main(kernels: Kernels) -> ExitCode {
    Worker::new(kernels).main()
}

/// A limit that all consumers together cannot reach protects nobody.
fn warn_of_memory(config: &WorkerConfig) {
    let Some((limit, machine)) = config.limits.memory.zip(config.limits.machine_memory) else { return };
    if limit.saturating_mul(config.consumers as u64) > machine {
        let (limit, machine, consumers) = (size::text(limit), size::text(machine), config.consumers);
        tracing::warn!(
            event = events::SETTING_DOUBTFUL,
            setting = "--memory-limit",
            "{consumers} consumers with {limit} each may need more than the {machine} there are: lower one of the two"
        );
    }
}

/// Whoever can submit tasks runs these programs as the user of this worker.
fn warn_of_programs(policy: &exec::Policy) {
    if policy.allows_everything() {
        tracing::warn!(
            event = events::SETTING_DOUBTFUL,
            setting = "--allow-exec",
            "the pattern * allows every program: whoever can submit tasks can do here what this user can"
        );
    }
    if nix::unistd::geteuid().is_root() {
        tracing::warn!(
            event = events::SETTING_DOUBTFUL,
            setting = "--allow-exec",
            "programs run as root: whoever can submit tasks should not be that; run the worker as a user of its own"
        );
    }
}

fn offered(
    kernels: Kernels,
    wanted: bool,
    tests: Option<fn() -> Kernels>,
    programs: bool,
) -> Result<Kernels, Refusal> {
    let kernels = match (wanted, tests) {
        (true, Some(make)) => kernels.and(make()),
        (true, None) => return Err((EXIT_USAGE, vec!["--test-kernels: this worker has none".to_owned()])),
        (false, _) => kernels,
    };
    let own = exec::offered();
    if programs && own.iter().any(|kernel| kernels.get(kernel.name).is_some()) {
        let line = "--allow-exec: this worker has a kernel of its own called exec; give that another name";
        return Err((EXIT_USAGE, vec![line.to_owned()]));
    }
    let kernels = if programs { kernels.and(own) } else { kernels };
    kernels.check().map_err(|error| bug(error.to_string()))?;
    Ok(kernels)
}

fn bug(line: String) -> Refusal {
    (EXIT_BUG, vec![line])
}

/// One line on stderr; that it may be closed is no reason to panic.
fn complain(line: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("gristmill-worker: {line}\n").as_bytes());
}
