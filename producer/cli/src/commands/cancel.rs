//! `gristmill cancel`.

use gristmill::{Cancelled, Client};

use crate::args::{Cancel, Global};
use crate::exit::Exit;
use crate::id::Id;
use crate::{ids, say, session};

pub async fn run(global: &Global, args: Cancel) -> Result<(), Exit> {
    let all = ids::all(&args.ids).await?;
    let client = session::connect(global).await?;
    let mut first = Ok(());
    for id in all {
        match cancel(&client, id).await? {
            Ok(()) => {}
            // The others are cancelled all the same; the first that was not is told at the end.
            Err(error) if first.is_ok() => first = Err(error),
            Err(error) => error.say(),
        }
    }
    first
}

/// The outer error ends the command, the inner one speaks of this id only.
async fn cancel(client: &Client, id: Id) -> Result<Result<(), Exit>, Exit> {
    let cancelled = match id {
        Id::Batch(batch) => client.cancel(batch).await?,
        Id::Task(task) => client.cancel_task(task).await?,
    };
    let batch = id.batch();
    Ok(match cancelled {
        Cancelled::Done => {
            say!("cancelled {id}; what has ended stays as it is");
            Ok(())
        }
        Cancelled::AlreadyFinished => {
            say!("{id} has ended already; nothing was cancelled");
            Ok(())
        }
        Cancelled::NoSuchBatch => {
            Err(Exit::new(Exit::UNKNOWN, format!("there is no batch {batch}: the id is wrong, or it expired")))
        }
        Cancelled::NoSuchTask(index) => Err(Exit::new(Exit::UNKNOWN, format!("the batch {batch} has no task {index}"))),
        Cancelled::TooMany => {
            let message = format!("too many tasks of the batch {batch} are cancelled one by one; cancel the batch");
            Err(Exit::new(Exit::REFUSED, message))
        }
    })
}
