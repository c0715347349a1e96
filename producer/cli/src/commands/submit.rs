//! `gristmill submit`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use gristmill::shared::defaults::{BLOB_BYTES_MAX, SHARED_BYTES_MAX};
use gristmill::{Client, ClientError, ConsumerLine, Handle, SharedData, SubmitOptions, TaskError, TaskId};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::{Global, Submit, SubmitArgs, When};
use crate::exit::Exit;
use crate::progress::Progress;
use crate::{json, kernel_check, on_thread, say, session};

/// Base64 makes bytes longer by a third; more than this cannot become an argument.
const TEXT_MAX: u64 = 2 * BLOB_BYTES_MAX as u64;

/// How often somebody who watches is told anew what the task does: workers tell it every few seconds.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub async fn run(global: &Global, args: Submit) -> Result<(), Exit> {
    if args.timeout.is_some() && !args.wait && args.when_full != Some(When::Wait) {
        return Err(Exit::usage("--timeout has nothing to end: use it with --wait, or with --when-full wait"));
    }
    let options = SubmitOptions {
        when_full: args.when_full.map(Into::into),
        room_timeout: args.timeout,
        key: args.key.clone(),
        key_window: args.key_window,
        ..options(&args.common).await?
    };
    options.check()?;
    let given = match args.args.as_deref() {
        // what a kernel without parameters is sent
        None => Value::Null,
        Some("-") => read(&read_stdin().await?)?,
        Some(text) => read(text)?,
    };
    let client = session::connect(global).await?;
    let check = kernel_check::check(&client, &args.kernel, args.common.checks()).await?;
    if let Some(doubt) = check.doubt(&given) {
        say!("gristmill: warning: {doubt}");
    }
    let packed = check.pack(given).map_err(|error| Exit::usage(format!("ARGS_JSON: {error}")))?;
    let handle = client.submit_raw(&args.kernel, packed, &options).await?;
    if let Some(key) = args.key.filter(|_| handle.was_known()) {
        say!("gristmill: the key {key:?} is known: {} was submitted before, and nothing now", handle.id());
    }
    if !args.wait {
        return print(&handle.id().to_string());
    }
    let result = match args.timeout {
        None => wait(&client, &handle).await,
        Some(limit) => tokio::time::timeout(limit, wait(&client, &handle)).await.map_err(|_| {
            let id = handle.id();
            Exit::new(
                Exit::TIMEOUT,
                format!("{id} has not ended within {limit:?}; it goes on, see `gristmill status {id}`"),
            )
        })?,
    };
    let output = match result {
        // It succeeded, and there is nothing to print.
        Err(TaskError::NotKept(_)) => return Ok(()),
        result => result?,
    };
    let text = json::from_msgpack(&output)
        .map_err(|error| Exit::new(Exit::TASK, format!("the output of {} cannot be printed: {error}", handle.id())))?;
    print(&text)
}

/// Waits for the result; whoever watches is told what the task does.
async fn wait(client: &Client, handle: &Handle<Vec<u8>>) -> Result<Vec<u8>, TaskError> {
    let progress = Progress::telling("waiting");
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let result = handle.result();
    tokio::pin!(result);
    loop {
        tokio::select! {
            biased;
            result = &mut result => return result,
            // Should Redis not answer, that is for the wait itself to find out.
            _ = looks.tick(), if progress.is_seen() => if let Ok(text) = what_it_does(client, handle.id()).await {
                progress.tell(&text);
            },
        }
    }
}

async fn what_it_does(client: &Client, task: TaskId) -> Result<String, ClientError> {
    let id = task.to_string();
    let workers = client.workers().await?;
    for worker in &workers {
        let lines = ConsumerLine::all(worker);
        let Some(line) = lines.iter().find(|line| line.text("task") == Some(&id)) else { continue };
        let host = worker.fields.get("host").map_or("some host", String::as_str);
        let note = line.progress().map(|told| format!(": {told}")).unwrap_or_default();
        return Ok(format!("running on {host}{note}"));
    }
    if workers.is_empty() {
        return Ok("waiting, and no worker is there".to_owned());
    }
    Ok("waiting".to_owned())
}

/// The options that `submit` and `map` have in common.
pub async fn options(args: &SubmitArgs) -> Result<SubmitOptions, Exit> {
    if let (Some(soft), Some(hard)) = (args.soft_time_limit, args.time_limit)
        && soft >= hard
    {
        let message = format!("--soft-time-limit {soft:?} must be below --time-limit {hard:?}: nobody could heed it");
        return Err(Exit::usage(message));
    }
    Ok(SubmitOptions {
        queue: Some(args.queue.clone()),
        lane: Some(args.priority.into()),
        retries: args.retries,
        backoff: args.backoff,
        backoff_max: args.backoff_max,
        soft_time_limit: args.soft_time_limit,
        time_limit: args.time_limit,
        memory: args.memory,
        result_ttl: args.result_ttl,
        expires_after: args.expires,
        delay: args.delay,
        at: args.at,
        labels: labels(args)?,
        ignore_result: args.ignore_result.then_some(true),
        shared: shared(args).await?,
        ..SubmitOptions::default()
    })
}

fn labels(args: &SubmitArgs) -> Result<BTreeMap<String, String>, Exit> {
    let mut labels = BTreeMap::new();
    for (name, value) in &args.labels {
        if labels.insert(name.clone(), value.clone()).is_some() {
            return Err(Exit::usage(format!("--label {name} occurs twice: a label has one value")));
        }
    }
    Ok(labels)
}

async fn shared(args: &SubmitArgs) -> Result<Option<SharedData>, Exit> {
    let read = |path: &Path| on_thread::file(path.to_owned(), SHARED_BYTES_MAX);
    if let Some(path) = &args.shared_bytes {
        return Ok(Some(SharedData::bytes(read(path).await?)));
    }
    let Some(path) = &args.shared else { return Ok(None) };
    let wrong = |why: String| Exit::usage(format!("{}: {why}; --shared-bytes takes any bytes", path.display()));
    let text = String::from_utf8(read(path).await?).map_err(|_| wrong("not UTF-8".into()))?;
    let packed = json::to_msgpack(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(SharedData::raw(packed)))
}

fn read(text: &str) -> Result<Value, Exit> {
    json::parse(text).map_err(|error| match error {
        json::JsonError::Syntax(_) => {
            let shown: String = text.chars().take(60).collect();
            Exit::usage(format!(
                "ARGS_JSON is {error}: {shown}; quote it for the shell: '\"text\"' for a string, '[1, 2]' for several \
                 arguments"
            ))
        }
        other => Exit::usage(format!("ARGS_JSON: {other}")),
    })
}

async fn read_stdin() -> Result<String, Exit> {
    let text = on_thread::stdin_text("arguments", TEXT_MAX).await?;
    if text.trim().is_empty() {
        say!("gristmill: warning: stdin is empty; the kernel gets no arguments");
        return Ok("null".into());
    }
    Ok(text)
}

fn print(line: &str) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
