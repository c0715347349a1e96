//! `gristmill queue`: what an operator does to one queue.

use gristmill::shared::Message;
use gristmill::shared::defaults::CALL_BYTES_MAX;
use gristmill::{Client, ClientError, Lane, Managed, Purged, QueueName, Wish};
use serde_json::{Map, Value};

use crate::args::{Global, Limit, Named, Peek, Priority, Purge, Queue, QueueCommand};
use crate::confirm::confirm;
use crate::counted::counted;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::table::{Table, object};
use crate::times::rfc3339;
use crate::{json, say, session};

/// As many as one look reads: with messages of 128 KiB, the largest, that is a MiB.
const PAGE: usize = 8;
/// What one call of purge takes at most: it repeats the messages, and each task that it ends costs some bytes more.
const PURGE_MESSAGES: usize = 100;
const PURGE_TASKS: u64 = 10_000;
/// How often a lane may begin with other messages than were seen a moment ago: workers take from it meanwhile.
const CHANGES: u32 = 100;
/// What a table shows of the arguments.
const ARGS_SHOWN: usize = 60;

pub async fn run(global: &Global, args: Queue) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    match args.command {
        QueueCommand::Pause(named) => {
            manage(&client, &named, Wish::Pause).await?;
            say!("gristmill: the queue {} is paused: what runs goes on, nothing more is started", named.queue);
        }
        QueueCommand::Resume(named) => {
            manage(&client, &named, Wish::Resume).await?;
            say!("gristmill: the queue {} is served", named.queue);
        }
        QueueCommand::Limit(Limit { named, limit }) => {
            manage(&client, &named, Wish::Limit(limit.0)).await?;
            match limit.0 {
                Some(limit) => say!(
                    "gristmill: each lane of the queue {} holds at most {}",
                    named.queue,
                    counted(limit, "message")
                ),
                None => say!("gristmill: the queue {} has no limit of its own any more", named.queue),
            }
        }
        QueueCommand::Purge(args) => purge(&client, args).await?,
        QueueCommand::Peek(args) => peek(&client, args).await?,
    }
    Ok(())
}

async fn manage(client: &Client, named: &Named, wish: Wish) -> Result<(), Exit> {
    match client.manage_queue(&named.queue, wish, named.force).await? {
        Managed::Done => Ok(()),
        Managed::UnknownQueue => Err(unknown(client, &named.queue, " (--force does it before its first task)").await?),
    }
}

async fn unknown(client: &Client, queue: &QueueName, hint: &str) -> Result<Exit, ClientError> {
    let known: Vec<String> = client.queues().await?.into_iter().map(|queue| queue.name.to_string()).collect();
    let known =
        if known.is_empty() { "none has been used yet".to_owned() } else { format!("known: {}", known.join(", ")) };
    Ok(Exit::new(Exit::UNKNOWN, format!("there is no queue {:?}; {known}{hint}", queue.as_str())))
}

/// A queue that nobody has used is a misspelt one.
async fn must_be_known(client: &Client, queue: &QueueName) -> Result<(), Exit> {
    if client.queues().await?.iter().any(|known| known.name == *queue) {
        return Ok(());
    }
    Err(unknown(client, queue, "").await?)
}

fn lanes(lane: Option<Priority>) -> Vec<Lane> {
    lane.map_or_else(|| Lane::ALL.to_vec(), |lane| vec![lane.into()])
}

async fn purge(client: &Client, args: Purge) -> Result<(), Exit> {
    must_be_known(client, &args.queue).await?;
    let depth = client.queue_stats(&args.queue).await?.depth_messages;
    let lanes: Vec<_> = lanes(args.lane).into_iter().map(|lane| (lane, depth[usize::from(lane.code())])).collect();
    let messages: u64 = lanes.iter().map(|(_, messages)| messages).sum();
    if messages == 0 {
        say!("gristmill: nothing waits in the queue {}", args.queue);
        return Ok(());
    }
    let question = format!(
        "Remove {} from the queue {}, and end the waiting tasks as cancelled?",
        counted(messages, "waiting message"),
        args.queue
    );
    if !confirm(&question, args.yes).await? {
        say!("gristmill: nothing was removed");
        return Ok(());
    }
    let (mut gone, mut tasks) = (0, 0);
    let progress = Progress::telling("removing");
    for (lane, left) in lanes {
        let (messages, its_tasks) = purge_lane(client, &args.queue, lane, left).await?;
        gone += messages;
        tasks += its_tasks;
    }
    drop(progress);
    say!(
        "gristmill: removed {} with {} from the queue {}",
        counted(gone, "message"),
        counted(tasks, "task"),
        args.queue
    );
    Ok(())
}

/// Removes at most so many messages: what is submitted meanwhile stays. Returns messages and tasks.
async fn purge_lane(client: &Client, queue: &QueueName, lane: Lane, messages: u64) -> Result<(u64, u64), Exit> {
    let (mut gone, mut tasks, mut changes, mut page) = (0, 0, 0, PAGE);
    while gone < messages {
        let most = page.min(usize::try_from(messages - gone).unwrap_or(page));
        let head = client.queue_head(queue, lane, 0, most).await?;
        page = fitting(&head);
        let (take, holds) = share(&head);
        if take == 0 {
            if head.is_empty() {
                break;
            }
            let message =
                "the next message is unreadable; a worker of the queue moves it to the dead letters, then purge again";
            return Err(Exit::new(Exit::TASK, message));
        }
        match client.purge(queue, lane, &head[..take]).await? {
            Purged::Done => (gone, tasks, changes) = (gone + take as u64, tasks + holds, 0),
            Purged::Changed if changes < CHANGES => changes += 1,
            Purged::Changed => {
                let message = format!("workers take from the queue {queue} faster than it is purged; pause it first");
                return Err(Exit::new(Exit::TASK, message));
            }
        }
    }
    Ok((gone, tasks))
}

/// How many of these one call of purge takes, and how many tasks they hold; none if the first is unreadable.
fn share(head: &[Vec<u8>]) -> (usize, u64) {
    let (mut take, mut holds, mut bytes) = (0, 0, 0);
    for message in head {
        bytes += message.len();
        let Ok(message) = Message::parse(message) else { break };
        let with_it = holds + u64::from(message.header.count);
        if take > 0 && (with_it > PURGE_TASKS || bytes > CALL_BYTES_MAX) {
            break;
        }
        (take, holds) = (take + 1, with_it);
    }
    (take, holds)
}

/// How many messages to look at next, if they are as large as these.
fn fitting(seen: &[Vec<u8>]) -> usize {
    let bytes: usize = seen.iter().map(Vec::len).sum();
    (CALL_BYTES_MAX * seen.len() / bytes.max(1)).clamp(PAGE, PURGE_MESSAGES)
}

async fn peek(client: &Client, args: Peek) -> Result<(), Exit> {
    must_be_known(client, &args.queue).await?;
    let mut table = Table::new(&[
        ("LANE", "lane"),
        ("TASK", "task"),
        ("TASKS", "tasks"),
        ("KERNEL", "kernel"),
        ("ATTEMPT", "attempt"),
        ("EXPIRES", "expires_at"),
        ("FIRST ARGS", if args.json { "args" } else { "shown" }),
    ]);
    let mut left = args.count as usize;
    for lane in lanes(args.lane) {
        let mut shown = 0;
        loop {
            let messages = client.queue_head(&args.queue, lane, shown, left.min(PAGE)).await?;
            if messages.is_empty() {
                break;
            }
            (shown, left) = (shown + messages.len(), left - messages.len());
            for message in messages {
                table.row(described(lane, &message, args.json));
            }
        }
    }
    table.print(args.json, "nothing waits in this queue")
}

fn described(lane: Lane, bytes: &[u8], for_programs: bool) -> Map<String, Value> {
    let lane = match lane {
        Lane::High => "high",
        Lane::Normal => "normal",
        Lane::Low => "low",
    };
    let Ok(message) = Message::parse(bytes) else {
        return object([("lane", lane.into()), ("task", "(unreadable)".into()), ("bytes", bytes.len().into())]);
    };
    let body = message.read_body().ok();
    let header = &message.header;
    let mut row = object([
        ("lane", lane.into()),
        ("task", message.task(0).to_string().into()),
        ("tasks", header.count.into()),
        ("kernel", body.as_ref().map(|body| body.kernel.clone()).into()),
        ("attempt", header.attempt.into()),
        ("crashes", header.crashes.into()),
        ("losses", header.losses.into()),
        ("expires_at", rfc3339(header.expires_at_ms).into()),
        ("bytes", bytes.len().into()),
        ("blob_bytes", body.as_ref().and_then(|body| body.blob.as_ref()).map(|blob| blob.bytes).into()),
    ]);
    let args = body.as_ref().and_then(|body| body.args.first()).and_then(|args| json::from_msgpack(args).ok());
    if for_programs {
        row.insert("args".into(), args.and_then(|args| serde_json::from_str(&args).ok()).unwrap_or_default());
    } else if let Some(args) = args {
        let short: String = args.chars().take(ARGS_SHOWN).collect();
        let more = if short.len() < args.len() { "…" } else { "" };
        row.insert("shown".into(), format!("{short}{more}").into());
    } else if body.is_some_and(|body| body.blob.is_some()) {
        row.insert("shown".into(), "(in a blob)".into());
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill::shared::defaults::MESSAGE_BYTES_MAX;

    #[test]
    fn as_many_are_looked_at_next_as_fit_one_call() {
        let head = |messages, bytes| vec![vec![0; bytes]; messages];
        assert_eq!(fitting(&head(8, 300)), PURGE_MESSAGES);
        assert_eq!(fitting(&head(8, 64 << 10)), 16);
        assert_eq!(fitting(&head(100, MESSAGE_BYTES_MAX)), PAGE);
        assert_eq!(PAGE * MESSAGE_BYTES_MAX, CALL_BYTES_MAX);
        assert_eq!(fitting(&[]), PAGE);
        assert_eq!(share(&head(3, 300)), (0, 0), "unreadable");
    }
}
