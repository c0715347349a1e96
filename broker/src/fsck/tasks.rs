//! Each task of a batch is in exactly one state: it stands in one place, or it has an outcome.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_shared::{BatchId, defaults};
use redis::aio::ConnectionLike;

use super::Look;
use super::check::{Check, all_hold};
use super::finding::{Action, Finding, Flaw, Remedy};
use super::intervals::Intervals;
use super::outcomes::Outcomes;
use super::places::{Places, Shape};
use super::row::Row;
use super::snapshot::Placed;
use crate::error::BrokerError;

pub(super) fn check<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    places: &Places,
    id: BatchId,
    row: &Row,
    placed: &[Placed],
    outcomes: &Outcomes,
) {
    let (Ok(Some(tasks)), Ok(ended)) = (row.number("tasks"), row.ended()) else { return };
    if row.has("swept") {
        return;
    }
    let (standing, twice) = Intervals::of(placed.iter().map(range).collect());
    let standing_count: u64 = placed.iter().map(|placed| u64::from(placed.count)).sum();
    let mut copies = Copies { look, places, id, placed };
    if !twice.is_empty() {
        copies.find(&twice, None);
    }
    if row.has("recreated") {
        // It knows only what was revived, and stragglers of its first life may count as well.
        let total = row.number("total").ok().flatten().unwrap_or(0);
        if ended + standing_count < total {
            lost(look, id, total - ended - standing_count, None, row);
        }
        return;
    }
    if row.has("revived_at_ms") {
        // A revived task leaves its earlier run behind.
        let known = standing.union(&outcomes.ended);
        if twice.is_empty() && ended + standing_count < tasks {
            let missing = known.missing(tasks);
            let missing = (missing.len() == tasks - ended - standing_count).then_some(missing);
            lost(look, id, tasks - ended - standing_count, missing, row);
        }
        return;
    }
    let both = standing.intersection(&outcomes.ended);
    if !both.is_empty() {
        copies.find(&both, Some(&outcomes.ended));
    }
    let missing = standing.union(&outcomes.ended).missing(tasks);
    if !missing.is_empty() {
        lost(look, id, missing.len(), Some(missing), row);
    }
}

fn range(placed: &Placed) -> (u64, u64) {
    (placed.first, placed.first + u64::from(placed.count))
}

/// Tasks that are nowhere. What went with a parked list that had expired is not lost: nobody could run it any more.
fn lost<C: ConnectionLike>(look: &mut Look<'_, C>, id: BatchId, count: u64, which: Option<Intervals>, row: &Row) {
    let number = |name| row.number(name).ok().flatten().unwrap_or(0);
    let late = number("last_expiry_ms") + number("result_ttl_ms") + defaults::BLOB_MARGIN.as_millis() as u64;
    if look.now_ms >= late {
        return;
    }
    let key = look.broker.keys().batch(id);
    let finding =
        Finding::new(Flaw::LostTask, key, "each task in one place, or with an outcome", format!("{count} are nowhere"));
    let Some(which) = which else {
        let words = "nothing: which of the tasks that were revived are meant cannot be told";
        return look.find(finding.remedy(Remedy::none(words)));
    };
    let indices = which.ranges().to_vec();
    let at = id.task(indices.first().map_or(0, |range| range.0)).to_string();
    let action =
        Action::RecordLost { batch: id, single: row.is_single(), queue: row.text("queue").to_owned(), indices };
    look.find(finding.at(at).remedy(Remedy::new("records them as lost, so that the batch can finish", action)));
}

/// Tasks that are in two states.
struct Copies<'l, 'a, C> {
    look: &'l mut Look<'a, C>,
    places: &'l Places,
    id: BatchId,
    placed: &'l [Placed],
}

impl<C: ConnectionLike> Copies<'_, '_, C> {
    /// `ended`: the second state is an outcome.
    fn find(&mut self, doubled: &Intervals, ended: Option<&Intervals>) {
        for (start, end) in self.cut(doubled) {
            let here: Vec<_> =
                self.placed.iter().filter(|placed| range(placed).0 < end && range(placed).1 > start).collect();
            let mut names: Vec<_> =
                here.iter().map(|placed| self.places.all[placed.place as usize].key.clone()).collect();
            names.sort();
            let found = match ended {
                Some(_) => format!("an outcome, and it stands in {}", names.join(" and ")),
                None => format!("it stands in {}", names.join(" and ")),
            };
            let finding = Finding::new(Flaw::DoubledTask, &names[0], "one state", found);
            let remedy = self.remedy(&here, ended);
            let task = self.id.task(start).to_string();
            self.look.find(finding.at(task).remedy(remedy));
        }
    }

    /// The ranges, cut wherever a message begins or ends.
    fn cut(&self, doubled: &Intervals) -> Vec<(u64, u64)> {
        let ends = self.placed.iter().flat_map(|placed| [range(placed).0, range(placed).1]);
        let ends: BTreeSet<u64> = ends.collect();
        let mut pieces = Vec::new();
        for &(start, end) in doubled.ranges() {
            let inside = ends.iter().copied().filter(|at| (start + 1..end).contains(at));
            let points: Vec<_> = [start].into_iter().chain(inside).chain([end]).collect();
            pieces.extend(points.windows(2).map(|pair| (pair[0], pair[1])));
        }
        pieces
    }

    /// Only a message all of whose tasks have another place or an outcome can go, and not from a consumer's hands.
    fn remedy(&self, here: &[&Placed], ended: Option<&Intervals>) -> Remedy {
        for (i, copy) in here.iter().enumerate() {
            let place = &self.places.all[copy.place as usize];
            let others = here.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| range(other)).collect();
            let others = Intervals::of(others).0;
            let covered = ended.unwrap_or(&others).covers(range(copy).0, range(copy).1);
            if let (true, Some(queue)) = (covered, &place.queue) {
                let action = Action::DiscardCopy {
                    key: place.key.clone(),
                    zset: place.shape == Shape::Zset,
                    queue: queue.clone(),
                    counter: super::places::COUNTERS[place.counter],
                    batch: self.id,
                    first: copy.first,
                    count: copy.count,
                };
                return Remedy::new(format!("takes it out of {}", place.key), action);
            }
        }
        Remedy::none("nothing: its parts cannot be told apart safely; what it counts twice, its batch counts twice")
    }
}

/// Messages of a batch that does not exist. What has expired may outlive its batch.
pub(super) async fn without_batch<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    places: &Places,
    id: BatchId,
    placed: &[Placed],
) -> Result<(), BrokerError> {
    let mut tasks: BTreeMap<u32, u64> = BTreeMap::new();
    for message in placed.iter().filter(|message| message.expires_at_ms > look.now_ms) {
        *tasks.entry(message.place).or_default() += u64::from(message.count);
    }
    let gone = [Check::Absent(look.broker.keys().batch(id))];
    if tasks.is_empty() || !all_hold(look.conn, &gone).await? {
        return Ok(());
    }
    let by_hand = "nothing: the tasks will run, and what they give will be dropped";
    for (place, count) in tasks {
        let (key, found) = (&places.all[place as usize].key, format!("no such batch, but {count} of its tasks"));
        let finding = Finding::new(Flaw::MessageWithoutBatch, key, "a batch for each message", found);
        look.find(finding.at(id.to_string()).remedy(Remedy::none(by_hand)));
    }
    Ok(())
}
