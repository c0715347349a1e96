//! Batches: state, total and life; and which of them need a closer look at their tasks.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_shared::{BatchId, OutcomeKind};
use redis::Value;
use redis::aio::ConnectionLike;

use super::check::Check;
use super::finding::{Finding, Flaw, Remedy, words};
use super::places::Places;
use super::row::Row;
use super::snapshot::{MESSAGES_MAX, Placed, ROWS_MAX, Snapshot};
use super::{Look, TOO_MUCH, outcomes, tasks};
use crate::error::BrokerError;

/// Batches in one step.
const PAGE: usize = 100;

pub(super) async fn check<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    places: &Places,
    snapshot: Option<&Snapshot>,
) -> Result<(), BrokerError> {
    let mut active: BTreeSet<BatchId> = BTreeSet::new();
    for page in look.inventory.batches().chunks(PAGE) {
        for (id, row, lasts) in rows(look, page).await? {
            let readable = unreadable("", &row).is_none() && (row.text("state") == "open" || row.has("total"));
            if row.is_there() && row.text("state").is_empty() {
                unreadable(&look.broker.keys().batch(id), &row).into_iter().for_each(|finding| look.find(finding));
            } else if lasts && readable {
                // Sweep could do nothing with others.
                check_life(look, id, &row).await?;
            }
            if is_at_rest(&row) {
                if outcomes::check(look, id, &row).await?.is_some() {
                    check_state(look, id, &row);
                }
            } else {
                active.insert(id);
            }
        }
    }
    let Some(snapshot) = snapshot else { return Ok(()) };
    active.extend(snapshot.placed.iter().map(|placed| placed.batch));
    let active: Vec<_> = active.into_iter().collect();
    // What is read in slices is read once, whatever it takes.
    let page = if snapshot.placed.len() as u64 > MESSAGES_MAX { active.len().max(1) } else { ROWS_MAX };
    for page in active.chunks(page) {
        match Snapshot::take(look.broker, look.conn, places, page).await? {
            Some(snapshot) => check_active(look, places, &snapshot).await?,
            None => look.note(TOO_MUCH),
        }
    }
    Ok(())
}

/// Each as it is at one moment, and whether nothing would ever delete it; what is gone meanwhile is left out.
async fn rows<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    page: &[BatchId],
) -> Result<Vec<(BatchId, Row, bool)>, BrokerError> {
    let keys = look.broker.keys();
    let mut pipe = redis::pipe();
    pipe.atomic();
    for id in page {
        Row::ask(&mut pipe, keys, *id);
        pipe.cmd("PTTL").arg(keys.batch(*id)).cmd("ZSCORE").arg(keys.batches()).arg(id.to_string());
    }
    let answers: Vec<Value> = pipe.query_async(look.conn).await?;
    let mut answers = answers.into_iter();
    let mut rows = Vec::new();
    for id in page {
        let row = Row::read(&mut answers)?;
        let (ttl, score) = (answers.next(), answers.next());
        let lasts = if row.is_single() { ttl == Some(Value::Int(-1)) } else { score == Some(Value::Nil) };
        if row != Row::default() {
            rows.push((*id, row, lasts));
        }
    }
    Ok(rows)
}

/// Finished, with all its outcomes: none of its tasks should stand anywhere.
fn is_at_rest(row: &Row) -> bool {
    let complete = row.number("total").is_ok_and(|total| total.is_some() && row.ended().ok() >= total);
    row.text("state") == "finished" && complete
}

async fn check_active<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    places: &Places,
    snapshot: &Snapshot,
) -> Result<(), BrokerError> {
    let mut placed: BTreeMap<BatchId, Vec<Placed>> = BTreeMap::new();
    for message in snapshot.placed.iter().filter(|message| snapshot.rows.contains_key(&message.batch)) {
        placed.entry(message.batch).or_default().push(*message);
    }
    for (id, row) in &snapshot.rows {
        let placed = placed.remove(id).unwrap_or_default();
        if row.text("state").is_empty() {
            tasks::without_batch(look, places, *id, &placed).await?;
            continue;
        }
        let before = look.report.findings.len();
        let Some(outcomes) = outcomes::check(look, *id, row).await? else { continue };
        // With wrong counters everything else would look wrong, too.
        if look.report.findings.len() == before {
            tasks::check(look, places, *id, row, &placed, &outcomes);
            check_state(look, *id, row);
        }
    }
    Ok(())
}

/// A batch of several stands in the set of batches; that of one has a time to live.
async fn check_life<C: ConnectionLike>(look: &mut Look<'_, C>, id: BatchId, row: &Row) -> Result<(), BrokerError> {
    let keys = look.broker.keys();
    let (key, batches, member) = (keys.batch(id), keys.batches(), id.to_string());
    if row.is_single() {
        let checks = vec![Check::NoTtl(key.clone())];
        let number = |name| row.number(name).ok().flatten().unwrap_or(look.now_ms);
        let at = number("last_expiry_ms").max(look.now_ms) + row.number("result_ttl_ms").ok().flatten().unwrap_or(0);
        let expire = words(["PEXPIREAT", &key, &at.to_string()]);
        let remedy = Remedy::commands("lets it expire with its results", checks.clone(), vec![expire]);
        return look.find_if(&checks, Finding::new(Flaw::NoTtl, key, "a time to live", "none").remedy(remedy)).await;
    }
    let checks = vec![Check::Present(key), Check::NotMember(batches.clone(), member.clone().into_bytes())];
    let add = words(["ZADD", &batches, &look.now_ms.to_string(), &member]);
    let remedy = Remedy::commands("lists it, to be looked at now", checks.clone(), vec![add]);
    let finding = Finding::new(Flaw::UnlistedBatch, batches, "every batch of several", "not listed").at(member);
    look.find_if(&checks, finding.remedy(remedy)).await
}

/// Why sweep, or we, can do nothing with it.
fn unreadable(key: &str, row: &Row) -> Option<Finding> {
    let finding = |at: &str, expected: &str| {
        let found = if row.has(at) { row.text(at) } else { "none" };
        Finding::new(Flaw::UnreadableBatch, key, expected, found).at(at)
    };
    // A batch of one is never swept.
    let needed: &[_] =
        if row.is_single() { &["tasks"] } else { &["tasks", "touched_at_ms", "last_expiry_ms", "result_ttl_ms"] };
    let numbers = [
        "tasks",
        "total",
        "touched_at_ms",
        "last_expiry_ms",
        "result_ttl_ms",
        "finished_at_ms",
        "swept",
        "shared_parts",
    ];
    let numbers = numbers.into_iter().chain(OutcomeKind::ALL.map(OutcomeKind::as_str));
    if !["open", "sealed", "finished"].contains(&row.text("state")) {
        return Some(finding("state", "open, sealed or finished"));
    }
    let is_wrong = |name: &&'static str| match row.number(name) {
        Ok(number) => number.is_none() && needed.contains(name),
        Err(_) => true,
    };
    numbers.into_iter().find(is_wrong).map(|name| finding(name, "a number"))
}

/// What the fields say must fit together.
fn check_state<C: ConnectionLike>(look: &mut Look<'_, C>, id: BatchId, row: &Row) {
    let key = look.broker.keys().batch(id);
    if let Some(finding) = unreadable(&key, row) {
        return look.find(finding);
    }
    let numbers = (row.number("tasks"), row.number("total"), row.ended(), row.number("result_ttl_ms"));
    let (Ok(Some(tasks)), Ok(total), Ok(ended), Ok(ttl)) = numbers else { return };
    let state = row.text("state");
    if state == "open" || row.has("swept") {
        return;
    }
    let field = |name: &str| {
        let value = row.has(name).then(|| row.text(name).as_bytes().to_vec());
        Check::Field(key.clone(), name.to_owned(), value)
    };
    let checks = vec![field("state"), field("total"), field("tasks")];
    if total != Some(tasks) && !row.has("recreated") {
        let set = words(["HSET", &key, "total", &tasks.to_string()]);
        let found = total.map_or_else(|| "none".to_owned(), |total| total.to_string());
        let finding = Finding::new(Flaw::WrongTotal, &key, tasks.to_string(), found).at("total");
        let remedy = Remedy::commands(format!("sets it to {tasks}"), checks, vec![set]);
        return look.find(finding.remedy(remedy));
    }
    let is_complete = total.is_some_and(|total| ended >= total);
    if state == "sealed" && is_complete {
        let remedy = Remedy::commands("finishes it", checks, finish(look, id, row, ttl.unwrap_or(0)));
        look.find(Finding::new(Flaw::UnfinishedBatch, &key, "finished", state).at("state").remedy(remedy));
    } else if state == "finished" && !is_complete && !row.has("revived_at_ms") {
        let mut commands = vec![words(["HSET", &key, "state", "sealed"]), words(["HDEL", &key, "finished_at_ms"])];
        if !row.is_single() {
            let (batches, now) = (look.broker.keys().batches(), look.now_ms.to_string());
            commands.push(words(["ZADD", &batches, &now, &id.to_string()]));
        }
        let remedy = Remedy::commands("calls it sealed, until the rest has ended", checks, commands);
        let expected = format!("sealed: it has {ended} outcomes of {tasks}");
        look.find(Finding::new(Flaw::FinishedTooEarly, &key, expected, state).at("state").remedy(remedy));
    }
}

/// What `finish` of the scripts does.
fn finish<C: ConnectionLike>(look: &Look<'_, C>, id: BatchId, row: &Row, ttl: u64) -> Vec<Vec<Vec<u8>>> {
    let keys = look.broker.keys();
    let (key, now) = (keys.batch(id), look.now_ms.to_string());
    let mut commands = vec![words(["HSET", &key, "state", "finished", "finished_at_ms", &now])];
    commands.push(match row.is_single() {
        true => words(["PEXPIRE", &key, &ttl.to_string()]),
        false => words(["ZADD", &keys.batches(), &(look.now_ms + ttl).to_string(), &id.to_string()]),
    });
    commands.push(words(["PUBLISH", &keys.done(id), "f"]));
    commands
}
