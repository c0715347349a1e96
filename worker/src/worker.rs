//! The library's way in: everything between `main` and the supervisor.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;

use gristmill_shared::{Kernels, events, size};

use crate::args::{self, Args, ArgsError};
use crate::config::WorkerConfig;
use crate::descriptors::Foreign;
use crate::loading::{Loaded, Loading};
use crate::roles::{EXIT_BUG, EXIT_OK};
use crate::{exec, logging, process, supervisor};

const EXIT_USAGE: u8 = 2;
const ONE_EACH: &str = "a kernel could not tell them apart; wrap one of them in a type of its own";

/// A worker program in the making.
///
/// ```no_run
/// use std::process::ExitCode;
/// use gristmill_worker::{KernelError, TaskContext, Worker, kernel, kernels};
///
/// struct Words(Vec<String>);
///
/// #[kernel]
/// fn longest(ctx: &TaskContext, most: usize) -> Result<Option<String>, KernelError> {
///     let Words(words) = ctx.state()?;
///     Ok(words.iter().filter(|word| word.len() <= most).max_by_key(|word| word.len()).cloned())
/// }
///
/// fn main() -> ExitCode {
///     let words = || std::fs::read_to_string("/usr/share/dict/words").map(|text| Words(text.lines().map(str::to_owned).collect()));
///     Worker::new(kernels![longest]).preload(words).main()
/// }
/// ```
pub struct Worker {
    kernels: Kernels,
    test_kernels: Option<fn() -> Kernels>,
    loading: Loading,
}

/// Why a worker ends before its supervisor works: an exit code, and lines for people.
type Refusal = (u8, Vec<String>);

impl Worker {
    /// A worker that offers these kernels.
    pub fn new(kernels: Kernels) -> Self {
        Self { kernels, test_kernels: None, loading: Loading::default() }
    }

    /// Runs `load` once, before the first process is forked, and keeps what it returns for
    /// [`TaskContext::state`](crate::TaskContext::state): all consumers share it, copy-on-write. It returns nothing, a
    /// `Result<T, E>`, or [`Keep`](crate::Keep)`(value)`; an error ends the worker at its start. There may be several, each with a value of
    /// another type.
    ///
    /// It must leave no thread behind: a fork copies none, and the worker does not start if there is one. So no thread pool is
    /// used here, no runtime, and no client of a network service: make those in [`init`](Self::init). Descriptors that it opens
    /// stay open in every consumer, with one offset for all. Memory stays shared until somebody writes to it; a value behind a
    /// `Mutex` that is written is a copy per consumer, and so is one with a reference count (`Arc` within the value) where it is
    /// cloned.
    #[must_use]
    pub fn preload<R: Loaded>(mut self, load: impl FnOnce() -> R + 'static) -> Self {
        self.loading.preload(load);
        self
    }

    /// Runs `load` in each consumer, after the fork and before it claims its first task, on the thread that computes, and keeps
    /// what it returns as [`preload`](Self::preload) does: what cannot be shared or inherited, such as a thread pool, a
    /// connection or a scratch file. It may start threads. If it fails or panics, the consumer ends with a line in the log, no
    /// task is touched, and a successor tries again: after 100 ms at first, after 10 s at most.
    #[must_use]
    pub fn init<R: Loaded>(mut self, load: impl Fn() -> R + Send + Sync + 'static) -> Self {
        self.loading.init(load);
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
        if let Some(name) = self.loading.twice() {
            return Err(bug(format!("preload and init keep two values of the type {name}: {ONE_EACH}")));
        }
        config.inits = self.loading.inits.clone();
        let loaded = self.loading.preloads(&mut config.states);
        loaded.map_err(|error| (EXIT_USAGE, vec![format!("preload failed: {error}")]))?;
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

fn offered(kernels: Kernels, wanted: bool, tests: Option<fn() -> Kernels>, programs: bool) -> Result<Kernels, Refusal> {
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
