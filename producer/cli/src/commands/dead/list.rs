//! `gristmill dead list`.

use gristmill::{Client, DeadTask};
use serde_json::{Map, Value};

use super::{kept_until, must_be_known};
use crate::args::DeadList;
use crate::exit::Exit;
use crate::said::Said;
use crate::say;
use crate::table::{Table, object};
use crate::times::rfc3339;

/// What a table shows of a message.
const SHOWN: usize = 60;

pub async fn run(client: &Client, args: DeadList) -> Result<(), Exit> {
    let queues = match args.queue {
        Some(queue) => {
            must_be_known(client, &queue).await?;
            vec![queue]
        }
        None => {
            client.queues().await?.into_iter().filter(|queue| queue.dead_tasks > 0).map(|queue| queue.name).collect()
        }
    };
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (mut rows, mut more) = (Vec::new(), false);
    for queue in queues {
        let mut filter = args.filters.of(vec![queue]);
        filter.latest_first = true;
        let mut letters = client.dead_letters(filter).await?;
        let mut of_queue = 0;
        while of_queue <= limit
            && let Some(page) = letters.next_page().await?
        {
            of_queue += page.len();
            rows.extend(page.iter().map(|dead| (dead.letter.at_ms, row(dead, args.json))));
        }
        // The latest of all queues: those of one that come behind so many others will not be among them.
        rows.sort_by_key(|(at_ms, _)| std::cmp::Reverse(*at_ms));
        more |= rows.len() > limit;
        rows.truncate(limit);
    }
    let mut table = Table::new(&[
        ("ID", "id"),
        ("QUEUE", "queue"),
        ("KERNEL", "kernel"),
        ("REASON", "reason"),
        ("ATTEMPT", "attempt"),
        ("BURIED", "buried_at"),
        ("MESSAGE", if args.json { "message" } else { "shown" }),
    ]);
    let shown = rows.len();
    rows.into_iter().for_each(|(_, row)| table.row(row));
    table.print(args.json, "no dead letter fits")?;
    if more {
        say!("gristmill: these are the latest {shown}; there are more: see --limit");
    }
    Ok(())
}

fn row(dead: &DeadTask, for_programs: bool) -> Map<String, Value> {
    let epitaph = &dead.letter.epitaph;
    let failure = epitaph.failure.as_ref();
    let earlier = dead.message().and_then(|(_, body)| body).map_or(0, |body| body.history.len());
    let mut row = object([
        ("id", dead.id.as_str().into()),
        ("queue", dead.queue.as_str().into()),
        ("kernel", Some(epitaph.kernel.as_str()).filter(|kernel| !kernel.is_empty()).into()),
        ("reason", epitaph.reason.as_str().into()),
        ("attempt", failure.map(|failure| failure.attempt).into()),
        ("buried_at", rfc3339(dead.letter.at_ms).into()),
    ]);
    if for_programs {
        row.insert("message".into(), failure.map(|failure| failure.message.as_str()).into());
        row.extend(failure.map(|failure| Said::from(failure).fields(false)).unwrap_or_default());
        row.extend(object([("earlier_ends", earlier.into()), ("kept_until_at", kept_until(dead).into())]));
    } else {
        row.insert("shown".into(), failure.map(|failure| shorten(&failure.line())).into());
    }
    row
}

fn shorten(text: &str) -> String {
    let short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
