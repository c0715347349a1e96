//! The command line of a worker: read by clap as it was typed, then checked as a whole.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser};
use gristmill_shared::connection::Endpoint;
use gristmill_shared::state::States;
use gristmill_shared::{ConsumerId, Namespace, QueueName, defaults, duration, size};

use crate::config::{Limits, LogFormat, WorkerConfig};
use crate::exec::{ExecFlags, Policy};
use crate::loading::Inits;
use crate::memory;

const CONSUMERS_MAX: usize = 1_024;
const GRACE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What a consumer may hold of messages, arguments and outputs alone.
const CONSUMER_NEEDS: u64 = 32 << 20;

const EXAMPLES: &str = "\
Examples:
  gristmill-worker                                    one consumer per core, queue \"default\"
  gristmill-worker --queues urgent,default -c 4       4 consumers; \"urgent\" before \"default\"
  GRISTMILL_REDIS=redis://:secret@db.example:6379 gristmill-worker
  gristmill-worker --redis redis+unix:///run/redis.sock --log-format json
  gristmill-worker --memory-limit 2GiB --max-tasks-per-consumer 1000
  gristmill-worker --allow-exec 'convert /data/*.png *' --allow-exec 'python3 /srv/train.py *'

Durations: 500ms, 10s, 2m, 1h. Sizes: 512MiB, 2GiB, 500MB, or a number of bytes.
Memory that the program loads before it starts its consumers is shared, and counts for none.

Signals: TERM or INT once drains (running tasks get the grace time), twice stops at once.
Exit codes: 0 after a drain, 2 bad usage, 3 Redis unreachable or refusing, 130/143 stopped at once.";

/// The command line as it was typed.
#[derive(Debug, Parser)]
#[command(name = "gristmill-worker", version, about = "Runs tasks from Redis in isolated processes.", after_help = EXAMPLES)]
struct LowArgs {
    /// Where Redis is: redis://[user:password@]host[:port][/db], redis+unix:///path, or
    /// redis+sentinel://[user:password@]host1,host2/service[/db], where sentinels name the master.
    #[arg(long, value_name = "URL", env = "GRISTMILL_REDIS", hide_env_values = true, default_value = defaults::REDIS_URL)]
    redis: String,
    /// The namespace of the deployment: the hash tag of all its keys.
    #[arg(long, value_name = "NAME", env = "GRISTMILL_NAMESPACE", default_value = defaults::NAMESPACE)]
    namespace: String,
    /// Queues to serve, separated by commas; left before right.
    #[arg(long, value_name = "A,B", default_value = defaults::QUEUE)]
    queues: String,
    /// Number of consumer processes; auto: one per available core.
    #[arg(long, short = 'c', visible_alias = "processes", value_name = "N|auto", default_value = "auto")]
    consumers: String,
    /// How long a consumer keeps its tasks after its last sign of life, for instance 10s.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    lease: String,
    /// How long a drain lets running tasks finish, for instance 25s.
    #[arg(long, value_name = "DURATION", default_value = "25s")]
    grace: String,
    /// How long to wait for a Redis that was never reached, for instance 60s; one that was reached is waited for always.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    reach: String,
    /// Memory that each consumer may hold while it runs a task, together with the programs that the task starts, for
    /// instance 512MiB or 2GiB. A task that passes it ends as out of memory, one that declares more is not started.
    /// RUST_BACKTRACE, where it is set, is 0 for kernels and their programs, with or without a limit.
    #[arg(long, value_name = "SIZE")]
    memory_limit: Option<String>,
    /// A consumer that has run so many tasks makes room for a fresh process.
    #[arg(long, value_name = "N")]
    max_tasks_per_consumer: Option<String>,
    /// A consumer that holds more memory than this after a task makes room for a fresh process. With
    /// --memory-limit the default is half of that.
    #[arg(long, value_name = "SIZE")]
    max_memory_per_consumer: Option<String>,
    /// Memory that each consumer keeps of shared input (SubmitOptions::shared), so that it is fetched once and not for
    /// each task; what was used least lately goes first, but the newest may be larger. It counts neither for
    /// --memory-limit nor for --max-memory-per-consumer. The default is 1GiB, or a quarter of the machine's memory for
    /// all consumers together, whichever is less.
    #[arg(long, value_name = "SIZE", env = "GRISTMILL_SHARED_CACHE")]
    shared_cache: Option<String>,
    /// How log lines on stderr look. GRISTMILL_LOG sets the level (default info).
    #[arg(long, value_enum, value_name = "FORMAT", env = "GRISTMILL_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Offer the kernels for tests too: they crash, hang and leak on purpose.
    #[arg(long)]
    test_kernels: bool,
    /// End at once when stdin ends: whoever holds it started this worker for itself alone.
    #[arg(long, hide = true, env = "GRISTMILL_END_WITH_STDIN")]
    end_with_stdin: bool,
    #[command(flatten)]
    exec: ExecFlags,
}

/// A command line that was read and checked.
pub(crate) struct Args {
    pub(crate) config: WorkerConfig,
    /// The programs that tasks may run, if any.
    pub(crate) exec: Option<Policy>,
    /// A password stood on the command line, where every user of the machine can see it.
    pub(crate) password_shown: bool,
}

/// Why there is no command line to work with.
#[derive(Debug)]
pub(crate) enum ArgsError {
    /// Asked for: the text of --help or --version.
    Text(clap::Error),
    /// Everything that is wrong, one line each.
    Values(Vec<String>),
}

impl From<clap::Error> for ArgsError {
    fn from(error: clap::Error) -> Self {
        if !error.use_stderr() {
            return Self::Text(error);
        }
        // What is wrong comes first, then clap's own advice, which --help gives as well.
        let text = error.render().to_string();
        let wrong = text.split("\n\n").next().unwrap_or_default();
        let wrong = wrong.strip_prefix("error: ").unwrap_or(wrong).lines().map(str::trim).collect::<Vec<_>>().join(" ");
        Self::Values(vec![format!("{wrong}; see --help")])
    }
}

/// Reads and checks a command line.
pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Args, ArgsError> {
    let matches = LowArgs::command().try_get_matches_from(args)?;
    let low = LowArgs::from_arg_matches(&matches)?;
    let (config, exec) = low.check().map_err(ArgsError::Values)?;
    let typed = matches.value_source("redis") == Some(ValueSource::CommandLine);
    Ok(Args { password_shown: typed && config.endpoint.has_password(), config, exec })
}

impl LowArgs {
    /// Checks all values, so that one run tells everything that is wrong.
    fn check(self) -> Result<(WorkerConfig, Option<Policy>), Vec<String>> {
        let mut errors = Vec::new();
        let exec = self.exec.check(&mut errors);
        let endpoint = keep(&mut errors, Endpoint::parse(&self.redis).map_err(|error| error.to_string()));
        let consumers = keep(&mut errors, consumers(&self.consumers));
        let limits = self.limits(consumers.unwrap_or(1), &mut errors);
        let namespace =
            keep(&mut errors, Namespace::new(self.namespace).map_err(|error| format!("--namespace: {error}")));
        let queues = keep(&mut errors, queues(&self.queues));
        let lease = keep(&mut errors, time("--lease", &self.lease, defaults::LEASE_RANGE));
        let grace = keep(&mut errors, time("--grace", &self.grace, Duration::ZERO..=GRACE_MAX));
        let reach = keep(&mut errors, time("--reach", &self.reach, Duration::ZERO..=GRACE_MAX));
        match (endpoint, namespace, queues, consumers, lease, grace, reach) {
            (Some(endpoint), Some(namespace), Some(queues), Some(consumers), Some(lease), Some(grace), Some(reach))
                if errors.is_empty() =>
            {
                let host = host();
                let worker = worker_id(&host);
                let (log_format, test_kernels) = (self.log_format, self.test_kernels);
                let config = WorkerConfig {
                    endpoint,
                    namespace,
                    queues,
                    consumers,
                    lease,
                    grace,
                    reach,
                    limits,
                    worker,
                    host,
                    log_format,
                    test_kernels,
                    states: States::default(),
                    end_with_stdin: self.end_with_stdin,
                    inits: Inits::default(),
                };
                Ok((config, exec))
            }
            _ => Err(errors),
        }
    }

    fn limits(&self, consumers: usize, errors: &mut Vec<String>) -> Limits {
        let memory = keep(errors, memory_size("--memory-limit", self.memory_limit.as_ref())).flatten();
        let max_tasks = number("--max-tasks-per-consumer", self.max_tasks_per_consumer.as_ref());
        let max_memory = memory_size("--max-memory-per-consumer", self.max_memory_per_consumer.as_ref());
        let (max_tasks, max_memory) = (keep(errors, max_tasks).flatten(), keep(errors, max_memory).flatten());
        if let (Some(memory), Some(max)) = (memory, max_memory)
            && max >= memory
        {
            let (memory, max) = (size::text(memory), size::text(max));
            errors.push(format!(
                "--max-memory-per-consumer is {max}, but --memory-limit ends a task at {memory}: use less than that"
            ));
        }
        let machine_memory = memory::of_machine();
        let shared_cache = keep(errors, cache_size("--shared-cache", self.shared_cache.as_ref())).flatten();
        let share = machine_memory.map_or(u64::MAX, |bytes| bytes / 4 / consumers as u64);
        Limits {
            memory,
            machine_memory,
            shared_cache: shared_cache.unwrap_or(defaults::SHARED_CACHE_BYTES.min(share)),
            max_tasks,
            // What an earlier task left behind must not become the fault of a later one.
            max_memory: max_memory.or(memory.map(|bytes| bytes / 2)),
        }
    }
}

/// The number behind an option that may be absent.
fn number(name: &str, text: Option<&String>) -> Result<Option<u64>, String> {
    let Some(text) = text else { return Ok(None) };
    let number = text.parse().ok().filter(|&number| number > 0);
    number.map(Some).ok_or_else(|| format!("{name} is {text:?}: use a number from 1 on"))
}

/// The size behind an option that may be absent.
fn memory_size(name: &str, text: Option<&String>) -> Result<Option<u64>, String> {
    let Some(text) = text else { return Ok(None) };
    let bytes = size::parse(text).ok_or_else(|| format!("{name} is {text:?}: use for instance {}", size::EXAMPLES))?;
    if bytes < CONSUMER_NEEDS {
        let needs = size::text(CONSUMER_NEEDS);
        return Err(format!("{name} is {text:?}, but a consumer needs {needs} for itself: use at least that"));
    }
    Ok(Some(bytes))
}

/// The size behind an option that may be absent; nothing is a size, too.
fn cache_size(name: &str, text: Option<&String>) -> Result<Option<u64>, String> {
    let Some(text) = text else { return Ok(None) };
    let bytes = size::parse(text).ok_or_else(|| format!("{name} is {text:?}: use for instance {}", size::EXAMPLES))?;
    Ok(Some(bytes))
}

fn keep<T>(errors: &mut Vec<String>, checked: Result<T, String>) -> Option<T> {
    checked.map_err(|error| errors.push(error)).ok()
}

fn queues(text: &str) -> Result<Vec<QueueName>, String> {
    let mut queues = Vec::new();
    for name in text.split(',').map(str::trim) {
        let queue = QueueName::new(name).map_err(|error| format!("--queues: {error}"))?;
        if queues.contains(&queue) {
            return Err(format!("--queues names {queue} twice: name each queue once"));
        }
        queues.push(queue);
    }
    Ok(queues)
}

fn consumers(text: &str) -> Result<usize, String> {
    if text == "auto" {
        // It knows of CPU affinity and cgroup quotas.
        return Ok(std::thread::available_parallelism().map_or(1, usize::from).min(CONSUMERS_MAX));
    }
    let number = text.parse().ok().filter(|number| (1..=CONSUMERS_MAX).contains(number));
    number.ok_or_else(|| format!("--consumers is {text:?}: use auto or a number from 1 to {CONSUMERS_MAX}"))
}

fn time(name: &str, text: &str, allowed: RangeInclusive<Duration>) -> Result<Duration, String> {
    let time = duration::parse(text).ok_or_else(|| format!("{name} is {text:?}: use for instance 500ms, 10s or 2m"))?;
    if !allowed.contains(&time) {
        let (from, to) = (allowed.start().as_secs(), allowed.end().as_secs());
        return Err(format!("{name} is {text:?}: use a time from {from}s to {to}s"));
    }
    Ok(time)
}

/// The host as it calls itself, fit for keys and logs.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' };
    let name: String = name.trim().chars().take(64).map(allowed).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

/// `<host>-<pid>-<random>`: containers share pids and sometimes host names.
fn worker_id(host: &str) -> String {
    let (_, random) = ConsumerId::new().halves();
    format!("{host}-{}-{:08x}", std::process::id(), random as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &str) -> Result<Args, ArgsError> {
        read(line.split_whitespace().map(OsString::from))
    }

    fn errors(line: &str) -> Vec<String> {
        match read_line(line) {
            Err(ArgsError::Values(errors)) => errors,
            Err(ArgsError::Text(text)) => vec![text.to_string()],
            Ok(_) => Vec::new(),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        let config = read_line("w").ok().unwrap().config;
        assert_eq!((config.lease, config.grace), (defaults::LEASE, defaults::DRAIN_GRACE));
        assert_eq!(config.reach, defaults::WORKER_REACH);
        assert_eq!(config.queues, [QueueName::new("default").unwrap()]);
        assert!(config.consumers >= 1);
        assert!(config.worker.starts_with(&format!("{}-{}-", config.host, std::process::id())));
    }

    #[test]
    fn aliases_and_units_work() {
        let config =
            read_line("w --processes 3 --queues b,a --lease 2500ms --grace 1m --test-kernels").ok().unwrap().config;
        assert_eq!((config.consumers, config.queues[0].as_str()), (3, "b"));
        assert_eq!((config.lease, config.grace), (Duration::from_millis(2_500), Duration::from_secs(60)));
        assert!(config.test_kernels);
        assert_eq!(read_line("w -c 2").ok().unwrap().config.consumers, 2);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let found = errors("w --redis http://x --queues a,a --consumers 0 --lease 1 --grace soon --namespace GM");
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found.contains(&"--queues names a twice: name each queue once".to_owned()), "{found:?}");
        assert!(found.contains(&"--consumers is \"0\": use auto or a number from 1 to 1024".to_owned()), "{found:?}");
        assert_eq!(errors("w --lease 500ms"), ["--lease is \"500ms\": use a time from 1s to 600s"]);
    }

    #[test]
    fn limits_are_read_with_their_units() {
        let line = "w --memory-limit 2GiB --max-memory-per-consumer 512MiB --max-tasks-per-consumer 100";
        let limits = read_line(line).ok().unwrap().config.limits;
        assert_eq!((limits.memory, limits.max_memory, limits.max_tasks), (Some(2 << 30), Some(512 << 20), Some(100)));
        let limits = read_line("w --memory-limit 1G").ok().unwrap().config.limits;
        assert_eq!(limits.max_memory, Some(512 << 20), "what one task leaves is not the fault of the next");
        let limits = read_line("w").ok().unwrap().config.limits;
        assert_eq!((limits.memory, limits.max_memory, limits.max_tasks), (None, None, None));
        assert!(limits.machine_memory.is_some());
    }

    #[test]
    fn the_cache_of_shared_input_has_a_size_of_its_own() {
        let cache = |line: &str| read_line(line).ok().unwrap().config.limits.shared_cache;
        assert_eq!((cache("w --shared-cache 2GiB"), cache("w --shared-cache 0")), (2 << 30, 0));
        let share = memory::of_machine().unwrap() / 4 / 1_000;
        assert_eq!(cache("w -c 1000"), share.min(defaults::SHARED_CACHE_BYTES));
        let found = errors("w --shared-cache much");
        assert_eq!(found, ["--shared-cache is \"much\": use for instance 512MiB, 2GiB or a number of bytes"]);
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let found = errors("w --memory-limit 1KiB --max-tasks-per-consumer 0 --max-memory-per-consumer lots");
        assert_eq!(
            found,
            [
                "--memory-limit is \"1KiB\", but a consumer needs 32MiB for itself: use at least that",
                "--max-tasks-per-consumer is \"0\": use a number from 1 on",
                "--max-memory-per-consumer is \"lots\": use for instance 512MiB, 2GiB or a number of bytes",
            ]
        );
        assert_eq!(
            errors("w --memory-limit 1GiB --max-memory-per-consumer 1GiB"),
            ["--max-memory-per-consumer is 1GiB, but --memory-limit ends a task at 1GiB: use less than that"]
        );
    }

    #[test]
    fn a_usage_error_is_one_line() {
        assert_eq!(errors("w --bogus"), ["unexpected argument '--bogus' found; see --help"]);
        assert_eq!(
            errors("w --log-format xml"),
            ["invalid value 'xml' for '--log-format <FORMAT>' [possible values: text, json]; see --help"]
        );
        assert!(errors("w --help")[0].contains("Examples:"));
    }

    #[test]
    fn a_password_that_was_typed_is_noticed() {
        assert!(read_line("w --redis redis://:secret@h").ok().unwrap().password_shown);
        assert!(!read_line("w --redis redis://h").ok().unwrap().password_shown);
    }
}
