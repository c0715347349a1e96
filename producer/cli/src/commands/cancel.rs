//! `gristmill cancel`.

use gristmill::Cancelled;

use crate::args::{Cancel, Global};
use crate::exit::Exit;
use crate::id::Id;
use crate::{say, session};

pub async fn run(global: &Global, args: Cancel) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    let cancelled = match args.id {
        Id::Batch(batch) => client.cancel(batch).await?,
        Id::Task(task) => client.cancel_task(task).await?,
    };
    let batch = args.id.batch();
    match cancelled {
        Cancelled::Done => say!("cancelled {}; what has ended stays as it is", args.id),
        Cancelled::AlreadyFinished => say!("{} has ended already; nothing was cancelled", args.id),
        Cancelled::NoSuchBatch => {
            return Err(Exit::new(Exit::UNKNOWN, format!("there is no batch {batch}: the id is wrong, or it expired")));
        }
        Cancelled::NoSuchTask(index) => {
            return Err(Exit::new(Exit::UNKNOWN, format!("the batch {batch} has no task {index}")));
        }
        Cancelled::TooMany => {
            let message = format!("too many tasks of the batch {batch} are cancelled one by one; cancel the batch");
            return Err(Exit::new(Exit::REFUSED, message));
        }
    }
    Ok(())
}
