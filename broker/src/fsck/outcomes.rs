//! The runs of a batch against its counters. Runs are only ever appended, so those that were listed at the
//! moment when the counters were read can be read later, in slices.

use std::collections::BTreeMap;

use gristmill_shared::outcome::{STATUS_BLOB, decode_run};
use gristmill_shared::{BatchId, Keys, Outcome, OutcomeKind};
use redis::aio::ConnectionLike;

use super::Look;
use super::finding::{Finding, Flaw, Remedy, words};
use super::intervals::Intervals;
use super::row::Row;
use crate::error::BrokerError;

const RUNS_PAGE: u64 = 1_000;
/// Runs may be large; one call reads one, so that Redis serves others between.
const RESULTS_PAGE: usize = 64;

/// The outcomes of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// The tasks that have one.
    pub(super) ended: Intervals,
    /// None: readers let some of them go, or they could not be read.
    content: Option<Content>,
    /// The sum of the lengths of all runs.
    listed: u64,
}

/// What all runs hold.
#[derive(Debug, Default)]
struct Content {
    kinds: [u64; 8],
    /// With the blobs that they name.
    bytes: u64,
}

/// Reads the outcomes of a batch, and compares them with its counters. None: it is being deleted meanwhile.
pub(super) async fn check<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    id: BatchId,
    row: &Row,
) -> Result<Option<Outcomes>, BrokerError> {
    let outcomes = if row.is_single() { single(look, id, row).await? } else { several(look, id, row).await? };
    let Some(outcomes) = outcomes else { return Ok(None) };
    // Revive turns a count back and leaves the run.
    if !row.is_special() {
        compare(look, id, row, &outcomes);
    }
    Ok(Some(outcomes))
}

fn compare<C: ConnectionLike>(look: &mut Look<'_, C>, id: BatchId, row: &Row, outcomes: &Outcomes) {
    let key = look.broker.keys().batch(id);
    let Some(content) = &outcomes.content else {
        if let Ok(ended) = row.ended()
            && ended != outcomes.listed
        {
            let remedy =
                Remedy::none("nothing: readers took some of the outcomes, nobody knows of which kind they were");
            let expected = format!("{} outcomes", outcomes.listed);
            look.find(Finding::new(Flaw::BatchCounter, &key, expected, ended.to_string()).at("all").remedy(remedy));
        }
        return;
    };
    let kinds = OutcomeKind::ALL.map(|kind| (kind.as_str(), content.kinds[usize::from(kind.code())]));
    let bytes = ("result_bytes", content.bytes);
    for (field, expected) in kinds.into_iter().chain((!row.is_single()).then_some(bytes)) {
        let Ok(found) = row.number(field) else { continue };
        let by = expected as i64 - found.unwrap_or(0) as i64;
        if by != 0 {
            let add = words(["HINCRBY", &key, field, &by.to_string()]);
            let remedy = Remedy::commands(format!("adds {by}"), vec![super::Check::Present(key.clone())], vec![add]);
            let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
            let finding = Finding::new(Flaw::BatchCounter, &key, expected.to_string(), found);
            look.find(finding.at(field).off_by(by).remedy(remedy));
        }
    }
}

async fn single<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    id: BatchId,
    row: &Row,
) -> Result<Option<Outcomes>, BrokerError> {
    if !row.has_outcome {
        return Ok(Some(Outcomes { content: Some(Content::default()), ..Outcomes::default() }));
    }
    let key = look.broker.keys().batch(id);
    let run: Option<Vec<u8>> = redis::cmd("HGET").arg(&key).arg("outcome").query_async(look.conn).await?;
    let Some(run) = run else { return Ok(None) };
    let mut content = Content::default();
    let read = content.add(&run) == Some(1);
    if !read {
        look.find(Finding::new(Flaw::UnreadableRun, key, "the outcome of one task", "something else").at("outcome"));
    }
    Ok(Some(Outcomes { ended: Intervals::of(vec![(0, 1)]).0, content: read.then_some(content), listed: 1 }))
}

async fn several<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    id: BatchId,
    row: &Row,
) -> Result<Option<Outcomes>, BrokerError> {
    let key = look.broker.keys().runs(id);
    let (mut runs, mut read) = (Vec::new(), 0);
    while read < row.runs {
        let mut range = redis::cmd("LRANGE");
        range.arg(&key).arg(read).arg((read + RUNS_PAGE).min(row.runs) - 1);
        let page: Vec<String> = range.query_async(look.conn).await?;
        if page.is_empty() {
            return Ok(None);
        }
        read += page.len() as u64;
        for entry in page {
            let numbers =
                entry.split_once(' ').and_then(|(first, count)| Some((first.parse().ok()?, count.parse().ok()?)));
            match numbers {
                Some((first, count)) => runs.push((first, count)),
                None => look.find(Finding::new(Flaw::UnreadableRun, &key, "first index and count", entry)),
            }
        }
    }
    let (ended, twice) =
        Intervals::of(runs.iter().map(|&(first, count): &(u64, u64)| (first, first + count)).collect());
    // What was revived ends again.
    if !row.is_special() {
        for &(first, _) in twice.ranges() {
            let finding = Finding::new(Flaw::DoubledTask, &key, "one outcome", "two outcomes");
            look.find(finding.at(id.task(first).to_string()));
        }
    }
    let content = if row.is_special() { None } else { content(look, id, &runs).await? };
    Ok(Some(Outcomes { ended, content, listed: runs.iter().map(|(_, count)| count).sum() }))
}

/// What the results say; none if some of them were let go.
async fn content<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    id: BatchId,
    runs: &[(u64, u64)],
) -> Result<Option<Content>, BrokerError> {
    let keys = look.broker.keys();
    let (mut content, mut complete) = (Content::default(), true);
    let key = |first: u64| keys.results(id, Keys::bucket_of(first));
    let mut unreadable = BTreeMap::new();
    for page in runs.chunks(RESULTS_PAGE) {
        let mut pipe = redis::pipe();
        page.iter().for_each(|&(first, _)| _ = pipe.cmd("HGET").arg(key(first)).arg(first));
        let values: Vec<Option<Vec<u8>>> = pipe.query_async(look.conn).await?;
        for (&(first, listed), value) in page.iter().zip(values) {
            let read = value.as_ref().map(|run| content.add(run));
            complete &= read.is_some_and(|count| count == Some(listed));
            if read.is_some_and(|count| count != Some(listed)) {
                unreadable.insert(first, listed);
            }
        }
    }
    for (first, listed) in unreadable {
        let finding = Finding::new(Flaw::UnreadableRun, key(first), format!("{listed} outcomes"), "something else");
        look.find(finding.at(first.to_string()));
    }
    Ok(complete.then_some(content))
}

impl Content {
    /// Adds a run; returns how many outcomes it holds. None: it cannot be read.
    fn add(&mut self, run: &[u8]) -> Option<u64> {
        let (count, rest) = run.split_first_chunk::<4>()?;
        let statuses = rest.get(..u32::from_be_bytes(*count) as usize)?;
        let read: Option<Vec<_>> =
            statuses.iter().map(|status| OutcomeKind::from_code(status & !STATUS_BLOB)).collect();
        let mut bytes = run.len() as u64;
        if statuses.iter().any(|status| status & STATUS_BLOB != 0) {
            let blob = |outcome: &Outcome| if let Outcome::Blob(blob) = outcome { blob.bytes } else { 0 };
            bytes += decode_run(run).ok()?.iter().map(blob).sum::<u64>();
        }
        read?.into_iter().for_each(|kind| self.kinds[usize::from(kind.code())] += 1);
        self.bytes += bytes;
        Some(statuses.len() as u64)
    }
}
