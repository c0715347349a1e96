//! `gristmill dead`: what ended badly, and what to do about it.

mod act;
mod list;
mod show;

use gristmill::shared::defaults::DEAD_LETTERS_AGE;
use gristmill::{Client, DeadTask, QueueName};

use crate::args::{Dead, DeadCommand, Global, Letter};
use crate::exit::Exit;
use crate::session;
use crate::times::rfc3339;

pub async fn run(global: &Global, args: Dead) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    match args.command {
        DeadCommand::List(args) => list::run(&client, args).await,
        DeadCommand::Show(args) => show::run(&client, args).await,
        DeadCommand::Retry(args) => act::retry(&client, args).await,
        DeadCommand::Purge(args) => act::purge(&client, args).await,
    }
}

async fn find(client: &Client, id: &Letter, queue: Option<&QueueName>) -> Result<DeadTask, Exit> {
    if let Some(queue) = queue {
        must_be_known(client, queue).await?;
    }
    let found = client.dead_letter(&id.0, queue).await?;
    found.ok_or_else(|| {
        let place = queue.map(|queue| format!(" in the queue {queue}")).unwrap_or_default();
        let message = format!("there is no dead letter {}{place}: it was retried or purged, or never died", id.0);
        Exit::new(Exit::UNKNOWN, message)
    })
}

/// A queue that nobody has used is a misspelt one.
async fn must_be_known(client: &Client, queue: &QueueName) -> Result<(), Exit> {
    let known: Vec<_> = client.queues().await?.into_iter().map(|queue| queue.name).collect();
    if known.contains(queue) {
        return Ok(());
    }
    let known: Vec<_> = known.iter().map(ToString::to_string).collect();
    let known =
        if known.is_empty() { "none has been used yet".to_owned() } else { format!("known: {}", known.join(", ")) };
    Err(Exit::new(Exit::UNKNOWN, format!("there is no queue {:?}; {known}", queue.as_str())))
}

/// Until when a letter is kept at most; more than the cap of its queue push it out earlier.
fn kept_until(dead: &DeadTask) -> String {
    rfc3339(dead.letter.at_ms.saturating_add(DEAD_LETTERS_AGE.as_millis() as u64))
}
