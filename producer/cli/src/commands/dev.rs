//! `gristmill dev`: a private Redis and a worker, until Ctrl-C.

use std::io::Write;
use std::time::Duration;

use gristmill::shared::{KernelName, QueueName, defaults};

use crate::args::{Dev, Global};
use crate::counted::counted;
use crate::exit::Exit;
use crate::private::{Log, Private, Worker, WorkerOptions, find_worker};
use crate::say;
use crate::signals::Signals;

/// How long Ctrl-C lets running tasks finish: a developer waits.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at whether Redis and the worker are there.
const LOOK: Duration = Duration::from_millis(100);

pub async fn run(global: &Global, args: Dev, signals: &mut Signals) -> Result<(), Exit> {
    refuse_redis("dev")?;
    let program = find_worker(args.worker.as_deref())?;
    let mut private = tokio::select! {
        started = start(global, &args) => started?,
        code = signals.next() => return Err(Exit::silent(code)),
    };
    let queues = args.queues.iter().map(QueueName::as_str).collect::<Vec<_>>().join(",");
    let options = WorkerOptions { consumers: args.consumers.0, queues: Some(queues), grace: GRACE, log: Log::Stderr };
    let mut worker = private.worker(&program, &options)?;
    let ended = tokio::select! {
        ended = work(global, &args, &mut private, &mut worker, options.consumer_count()) => ended,
        code = signals.next() => Ok(code),
    };
    let code = ended?;
    stop(&mut private, &mut worker, signals).await;
    Err(Exit::silent(code))
}

/// On a thread of its own: Redis may have a lot of data to load.
async fn start(global: &Global, args: &Dev) -> Result<Private, Exit> {
    let (namespace, persist) = (global.namespace.clone(), args.persist.clone());
    let started = tokio::task::spawn_blocking(move || Private::start(&namespace, persist.as_deref())).await;
    started.map_err(|error| Exit::new(Exit::BUG, format!("cannot start Redis: {error}")))?
}

/// A Redis that was named on the command line would not be used.
pub fn refuse_redis(command: &str) -> Result<(), Exit> {
    if std::env::args_os().any(|arg| arg.as_encoded_bytes().starts_with(b"--redis")) {
        return Err(Exit::usage(format!(
            "{command} starts a Redis of its own: leave --redis away, or run gristmill-worker --redis URL"
        )));
    }
    Ok(())
}

/// Starts up, says how to use it, and watches. Never ends well: a signal ends it.
async fn work(
    global: &Global,
    args: &Dev,
    private: &mut Private,
    worker: &mut Worker,
    consumers: u64,
) -> Result<u8, Exit> {
    let client = private.connect().await?;
    private.wait_ready(&client, worker, consumers).await?;
    let kernels: Vec<_> = client.kernels().await?.into_iter().map(|kernel| kernel.name).collect();
    say!("gristmill: worker {} is ready with {}", worker.pid(), counted(consumers, "consumer"));
    print(&how_to(global, args, private, &kernels))?;
    loop {
        tokio::time::sleep(LOOK).await;
        // Without Redis a worker cannot end well, so Redis is asked first.
        private.check()?;
        worker.check()?;
    }
}

fn print(text: &str) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn how_to(global: &Global, args: &Dev, private: &Private, kernels: &[KernelName]) -> String {
    let (queue, socket) = (&args.queues[0], private.socket().display());
    let mut lines = vec!["In another shell:".to_owned(), format!("  export GRISTMILL_REDIS={}", private.url())];
    if global.namespace != defaults::NAMESPACE {
        lines.push(format!("  export GRISTMILL_NAMESPACE={}", global.namespace));
    }
    let elsewhere = if queue.as_str() == defaults::QUEUE { String::new() } else { format!(" --queue {queue}") };
    lines.push(format!("  gristmill submit {} --wait{elsewhere}", example(kernels)));
    lines.push(format!("  redis-cli -s {socket} LLEN {{{}}}:ready:{queue}", global.namespace));
    lines.push(String::new());
    let names: Vec<_> = kernels.iter().map(KernelName::as_str).collect();
    lines.push(format!("Kernels: {}", names.join(", ")));
    lines.push(match &args.persist {
        Some(dir) => format!("Data: kept in {}; up to about two seconds are lost if this machine dies", dir.display()),
        None => "Data: in memory only, gone when this ends (--persist DIR keeps it)".to_owned(),
    });
    lines.push("Ctrl-C ends the worker, then Redis.".to_owned());
    lines.join("\n") + "\n"
}

/// A task that the worker can run.
fn example(kernels: &[KernelName]) -> String {
    if kernels.iter().any(|kernel| kernel.as_str() == "sum_sqrt") {
        return "sum_sqrt 1000000".to_owned();
    }
    kernels.first().map_or_else(|| "KERNEL ARGS".to_owned(), |kernel| format!("{kernel} ARGS"))
}

/// The worker drains, and only then Redis goes. A second signal ends the worker at once.
async fn stop(private: &mut Private, worker: &mut Worker, signals: &mut Signals) {
    say!("gristmill: stopping; running tasks have {} s, Ctrl-C again ends them now", GRACE.as_secs());
    let redis_gone = async {
        while private.check().is_ok() {
            tokio::time::sleep(LOOK).await;
        }
    };
    let drained = tokio::select! {
        () = worker.drain() => true,
        _ = signals.next() => false,
        () = redis_gone => false,
    };
    if !drained {
        worker.stop().await;
    }
}
