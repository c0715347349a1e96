//! `gristmill dead retry` and `gristmill dead purge`.

use futures::{StreamExt, stream};
use gristmill::{Client, DeadFilter, DeadTask, Revived};

use super::{find, must_be_known};
use crate::args::{DeadAct, Letter, Target};
use crate::confirm::confirm;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::say;

/// Retries under way at once.
const AT_ONCE: usize = 8;

pub async fn retry(client: &Client, args: DeadAct) -> Result<(), Exit> {
    let mut retried = Retried::default();
    match retry_chosen(client, &args, &mut retried).await {
        Ok(true) => retried.report(),
        Ok(false) => Ok(()),
        Err(error) => {
            // What was done before is done.
            if retried.done + retried.gone > 0 {
                retried.tell();
            }
            Err(error)
        }
    }
}

/// False: somebody said no.
async fn retry_chosen(client: &Client, args: &DeadAct, retried: &mut Retried) -> Result<bool, Exit> {
    match chosen(client, args).await? {
        Chosen::Letters(ids) => {
            for id in ids {
                let dead = find(client, &id, None).await?;
                retried.take(&dead.id, &client.retry_dead(&dead).await?);
            }
        }
        Chosen::Filter(filter) => {
            let mut walk = Walk::begin(client, args, filter).await?;
            if !walk.agreed("Retry", args.yes).await? {
                return Ok(false);
            }
            let progress = Progress::counting("dead letters retried");
            while let Some(page) = walk.next().await? {
                let calls = page.iter().map(|dead| async { (dead.id.as_str(), client.retry_dead(dead).await) });
                let mut calls = stream::iter(calls).buffered(AT_ONCE);
                let mut failed = None;
                while let Some((id, revived)) = calls.next().await {
                    match revived {
                        Ok(revived) => {
                            retried.take(id, &revived);
                            progress.set(retried.done);
                        }
                        // The others are under way.
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
                if let Some(error) = failed {
                    return Err(error.into());
                }
            }
        }
    }
    Ok(true)
}

pub async fn purge(client: &Client, args: DeadAct) -> Result<(), Exit> {
    let mut dropped = 0;
    let end = purge_chosen(client, &args, &mut dropped).await;
    if dropped > 0 || matches!(end, Ok(true)) {
        say!("gristmill: dropped {}", letters(dropped));
    }
    end.map(|_| ())
}

/// False: somebody said no.
async fn purge_chosen(client: &Client, args: &DeadAct, dropped: &mut u64) -> Result<bool, Exit> {
    match chosen(client, args).await? {
        Chosen::Letters(ids) => {
            for id in ids {
                let dead = find(client, &id, None).await?;
                *dropped += client.purge_dead(&[dead]).await?;
            }
        }
        Chosen::Filter(filter) => {
            let mut walk = Walk::begin(client, args, filter).await?;
            if !walk.agreed("Drop", args.yes).await? {
                return Ok(false);
            }
            let progress = Progress::counting("dead letters dropped");
            while let Some(page) = walk.next().await? {
                *dropped += client.purge_dead(&page).await?;
                progress.set(*dropped);
            }
        }
    }
    Ok(true)
}

enum Chosen {
    Letters(Vec<Letter>),
    Filter(DeadFilter),
}

/// What the command line names: letters by their ids, or all that a filter leaves.
async fn chosen(client: &Client, args: &DeadAct) -> Result<Chosen, Exit> {
    let (mut ids, mut queues) = (Vec::new(), Vec::new());
    for target in &args.targets {
        match target {
            Target::Letter(id) => ids.push(id.clone()),
            Target::Queue(queue) => queues.push(queue.clone()),
        }
    }
    let filtered = args.filters.any() || args.limit.is_some();
    if !ids.is_empty() {
        if args.all || filtered || !queues.is_empty() {
            return Err(Exit::usage("name dead letters by their ids, or choose them by queue and filters, not both"));
        }
        return Ok(Chosen::Letters(ids));
    }
    if queues.is_empty() && !args.all && !args.filters.any() {
        return Err(Exit::usage("which dead letters? Name ids, a queue or filters, or say --all; try --help"));
    }
    for queue in &queues {
        must_be_known(client, queue).await?;
    }
    Ok(Chosen::Filter(args.filters.of(queues)))
}

/// The letters to act on, in pages, up to the limit.
struct Walk<'a> {
    client: &'a Client,
    filter: DeadFilter,
    limit: u64,
    letters: Option<gristmill::DeadLetters>,
    left: u64,
}

impl<'a> Walk<'a> {
    async fn begin(client: &'a Client, args: &DeadAct, filter: DeadFilter) -> Result<Self, Exit> {
        let limit = args.limit.unwrap_or(u64::MAX);
        Ok(Self { client, filter, limit, letters: None, left: limit })
    }

    async fn next(&mut self) -> Result<Option<Vec<DeadTask>>, Exit> {
        let letters = match &mut self.letters {
            Some(letters) => letters,
            none => none.insert(self.client.dead_letters(self.filter.clone()).await?),
        };
        if self.left == 0 {
            return Ok(None);
        }
        let Some(mut page) = letters.next_page().await? else { return Ok(None) };
        page.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= page.len() as u64;
        Ok(Some(page))
    }

    /// Counts, and asks. False: there is nothing to do, or somebody said no.
    async fn agreed(&mut self, verb: &str, yes: bool) -> Result<bool, Exit> {
        if yes {
            return Ok(true);
        }
        let mut count = 0;
        while let Some(page) = self.next().await? {
            count += page.len() as u64;
        }
        (self.letters, self.left) = (None, self.limit);
        if count == 0 {
            say!("gristmill: no dead letter fits");
            return Ok(false);
        }
        let agreed = confirm(&format!("{verb} {}?", letters(count)), yes).await?;
        if !agreed {
            say!("gristmill: nothing was done");
        }
        Ok(agreed)
    }
}

/// What became of the letters that were to be retried.
#[derive(Default)]
struct Retried {
    done: u64,
    gone: u64,
    refused: u64,
    /// The first that was refused: the exit code, and why.
    why: Option<(u8, String)>,
}

impl Retried {
    fn take(&mut self, id: &str, revived: &Revived) {
        let (code, why) = match revived {
            Revived::Done => return self.done += 1,
            // Somebody else was faster.
            Revived::Gone => return self.gone += 1,
            Revived::BlobGone => {
                (Exit::UNKNOWN, format!("the argument of {id} is gone from Redis, it cannot run again: submit it anew"))
            }
            Revived::SharedGone => (
                Exit::UNKNOWN,
                format!(
                    "the shared input of {id} is gone from Redis, as it is not kept for dead letters, so it cannot run again: \
                     submit it anew with --shared"
                ),
            ),
            Revived::Unreadable => {
                (Exit::USAGE, format!("{id} cannot be read: it can be shown and purged, but not retried"))
            }
            Revived::Cancelled => (
                Exit::REFUSED,
                format!(
                    "the batch of {id} is cancelled, and others of it have not ended yet: retry when it has finished"
                ),
            ),
        };
        self.refused += 1;
        self.why.get_or_insert((code, why));
    }

    fn tell(&self) {
        if self.done > 0 || self.refused == 0 {
            say!("gristmill: retried {}", letters(self.done));
        }
        if self.gone > 0 {
            say!("gristmill: {} had been retried or purged meanwhile", letters(self.gone));
        }
    }

    fn report(self) -> Result<(), Exit> {
        self.tell();
        match self.why {
            None => Ok(()),
            Some((code, why)) if self.refused == 1 => Err(Exit::new(code, why)),
            Some((code, why)) => {
                Err(Exit::new(code, format!("{} could not be retried; the first: {why}", letters(self.refused))))
            }
        }
    }
}

fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}
