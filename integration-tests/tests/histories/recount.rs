//! The recount: everything that stands in Redis, against the promises (`state`) and against the model.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_broker::fsck::{Flaw, Fsck};
use gristmill_shared::outcome::decode_run;
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{BatchId, Keys, Outcome, OutcomeKind};

use crate::dump::Dump;
use crate::hold;
use crate::model::{Batch, Held, Mark};
use crate::state::{Places, State, number, text};
use crate::world::World;

impl World<'_> {
    /// Checks the promises that can be read off Redis alone.
    pub async fn check_state(&mut self) -> Held<(Dump, Places)> {
        let prefix = self.keys().prefix();
        let dump = Dump::read(&mut self.conn, prefix).await?;
        let state = State { dump: &dump, keys: self.keys(), queues: &self.queues };
        let places = state.check(&self.forgotten)?;
        Ok((dump, places))
    }

    /// Checks every promise, and that Redis holds what the model says.
    pub async fn check(&mut self) -> Held {
        let (dump, places) = self.check_state().await?;
        self.check_leases(&dump)?;
        self.check_suspects(&dump)?;
        self.check_batches(&dump, &places)?;
        self.check_fsck().await
    }

    /// fsck finds nothing but the rubbish that waits for a claim. It takes as long as everything else together:
    /// every fifth history is enough.
    async fn check_fsck(&mut self) -> Held {
        if !self.coverage.histories.is_multiple_of(5) {
            return Ok(());
        }
        let mut fsck = Fsck::new(self.broker).at(self.model.now);
        let report = fsck.look(&mut self.conn).await?;
        let wrong: Vec<_> = report.findings.iter().filter(|found| found.flaw != Flaw::UnreadableMessage).collect();
        hold!(wrong.is_empty() && report.notes.is_empty(), "fsck finds {wrong:?} {:?}", report.notes);
        Ok(())
    }

    fn check_leases(&self, dump: &Dump) -> Held {
        let keys = self.keys();
        let leases: BTreeSet<_> = dump.zset(&keys.leases()).iter().map(|(id, _)| text(id)).collect();
        let expected: BTreeSet<_> = self.model.leases.keys().map(ToString::to_string).collect();
        hold!(leases == expected, "there are the leases {leases:?}, not {expected:?}");
        for (id, lease) in &self.model.leases {
            let hash = dump.hash(&keys.consumer(*id));
            let (op, settled) = (number(hash, "op")?, number(hash, "settled")?);
            hold!(op == lease.op, "{id} stands at op {op}, not {}", lease.op);
            hold!(settled == lease.settled, "{id} has settled {settled}, not {}", lease.settled);
            hold!(*dump.list(&keys.inflight(*id)) == lease.inflight, "{id} holds other messages than it claimed");
        }
        Ok(())
    }

    fn check_suspects(&self, dump: &Dump) -> Held {
        let suspects = dump.hash(&self.keys().suspects());
        let fields: Vec<_> = suspects.keys().collect();
        hold!(self.model.suspects.keys().eq(fields.iter().copied()), "there are the suspects {fields:?}");
        for (field, (message, _)) in &self.model.suspects {
            let suspect = Suspect::parse(&suspects[field])?;
            hold!(suspect.message.encode()? == *message, "the suspect {field} is another message");
        }
        Ok(())
    }

    fn check_batches(&self, dump: &Dump, places: &Places) -> Held {
        let ids: BTreeSet<_> = dump.names("batch:").map(|name| name["batch:".len()..].to_owned()).collect();
        let expected: BTreeSet<_> = self.model.batches.keys().map(ToString::to_string).collect();
        hold!(ids == expected, "there are the batches {ids:?}, not {expected:?}");
        for (id, batch) in &self.model.batches {
            self.check_batch(dump, places, *id, batch)?;
        }
        let marks = self.model.marks.iter().map(|(id, mark)| (id.to_string(), mark_text(mark)));
        let expected: BTreeMap<_, _> = marks.collect();
        let marks = dump.hash(&self.keys().cancelled()).iter().map(|(id, mark)| (id.clone(), text(mark)));
        let marks: BTreeMap<_, _> = marks.collect();
        hold!(marks == expected, "the cancel marks are {marks:?}, not {expected:?}");
        let orphaned = self.queues.iter().map(|queue| number(dump.hash(&self.keys().queue(queue)), "orphaned"));
        let orphaned: u64 = orphaned.collect::<Held<Vec<_>>>()?.iter().sum();
        hold!(orphaned == self.model.orphaned, "{orphaned} orphaned are counted, not {}", self.model.orphaned);
        Ok(())
    }

    fn check_batch(&self, dump: &Dump, places: &Places, id: BatchId, batch: &Batch) -> Held {
        let hash = dump.hash(&self.keys().batch(id));
        hold!(fields(dump, self.keys(), id, batch)? == batch.fields, "{id}: its results are not what was recorded");
        for kind in OutcomeKind::ALL {
            let (counted, expected) = (number(hash, kind.as_str())?, batch.counts[usize::from(kind.code())]);
            hold!(counted == expected, "{id}: {kind} is {counted}, and {expected} were recorded");
        }
        // Also those that were revived, or whose outcome was forgotten.
        for index in &batch.members {
            let place = places.tasks.get(&(id, *index));
            let (stands, ended) = (place.is_some(), batch.ended.contains(index));
            let task = id.task(*index);
            hold!(stands || ended, "task {task} is lost");
            hold!(!(stands && ended), "task {task} has ended, and stands in {place:?}");
        }
        let tasks = number(hash, "tasks")?;
        hold!(tasks == batch.tasks, "{id} has {tasks} tasks, not {}", batch.tasks);
        let total = hash.get("total").map(|_| number(hash, "total")).transpose()?;
        hold!(total == batch.total, "{id} has the total {total:?}, not {:?}", batch.total);
        let state = hash.get("state").map(|state| text(state)).unwrap_or_default();
        let expected = match (batch.total, batch.finished_at) {
            (None, _) => "open",
            (Some(_), None) => "sealed",
            (Some(_), Some(_)) => "finished",
        };
        hold!(state == expected, "{id} is {state}, not {expected}");
        let (bytes, stopped) = (number(hash, "result_bytes")?, hash.contains_key("stopped"));
        hold!(bytes == batch.bytes, "{id}: its results are counted as {bytes} bytes, and take {}", batch.bytes);
        hold!(stopped == batch.stopped, "{id} is stopped: {stopped}, not {}", batch.stopped);
        let excess = batch.recreated.is_none() && batch.total.is_some_and(|total| total < batch.outcomes());
        hold!(!excess, "{id} has more outcomes than tasks");
        Ok(())
    }
}

/// What readers find of a batch: first index and outcomes of each run.
fn fields(dump: &Dump, keys: &Keys, id: BatchId, batch: &Batch) -> Held<BTreeMap<u64, Vec<Outcome>>> {
    if batch.single {
        let outcome = dump.hash(&keys.batch(id)).get("outcome");
        return outcome.map(|run| Ok((0, decode_run(run)?))).into_iter().collect();
    }
    let runs: BTreeSet<_> = dump.list(&keys.runs(id)).iter().map(|run| text(run)).collect();
    let mut fields = BTreeMap::new();
    for (first, run) in dump.hash(&keys.results(id, 0)) {
        let outcomes = decode_run(run)?;
        hold!(runs.contains(&format!("{first} {}", outcomes.len())), "{id}: the run at {first} is not listed");
        fields.insert(first.parse()?, outcomes);
    }
    Ok(fields)
}

fn mark_text(mark: &Mark) -> String {
    let list = |tasks: &[u64]| tasks.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    match mark {
        Mark::All => "*".into(),
        Mark::Tasks(tasks) => list(tasks),
        Mark::OverBudget(budget, tasks) if tasks.is_empty() => format!("-!{budget}"),
        Mark::OverBudget(budget, tasks) => format!("-!{budget},{}", list(tasks)),
    }
}
