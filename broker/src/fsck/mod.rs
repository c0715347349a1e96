//! fsck: walks every key of a namespace, finds what breaks a promise, and repairs what can be repaired safely.
//!
//! The system may move meanwhile. So a fault is only reported if Redis shows it in one step, by a transaction
//! or under WATCH, and shows it again at every further look.

mod batches;
mod check;
mod dead;
mod finding;
mod intervals;
mod inventory;
mod leases;
mod names;
mod outcomes;
mod owners;
mod places;
mod queues;
mod repair;
mod row;
mod slices;
mod snapshot;
mod tasks;

use std::time::Duration;

use redis::aio::ConnectionLike;

pub use finding::{Finding, Flaw, Remedy};
pub use repair::{RepairLock, Repaired};

use crate::Broker;
use crate::error::BrokerError;
use check::{Check, all_hold};
use inventory::Inventory;
use places::Places;
use snapshot::Snapshot;

/// Looks at a fault until it is reported.
const LOOKS: usize = 3;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(60);

/// What a check saw.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What could not be checked, and why.
    pub notes: Vec<String>,
    /// Keys that were looked at.
    pub keys: usize,
    /// Queues among them.
    pub queues: usize,
    /// Batches among them.
    pub batches: usize,
    /// Tasks that stand somewhere.
    pub tasks: u64,
    /// Whether the contents of the keys were checked. They are not while a key has another type than it should.
    pub has_contents: bool,
}

/// A check of one namespace. It remembers what it has seen, for the next look.
pub struct Fsck {
    broker: Broker,
    places: Places,
    now_ms: Option<u64>,
}

/// One look.
struct Look<'a, C> {
    broker: &'a Broker,
    conn: &'a mut C,
    inventory: Inventory,
    now_ms: u64,
    report: Report,
}

impl<C: ConnectionLike> Look<'_, C> {
    fn find(&mut self, finding: Finding) {
        self.report.findings.push(finding);
    }

    /// Adds a finding if the evidence holds at one moment.
    async fn find_if(&mut self, checks: &[Check], finding: Finding) -> Result<(), BrokerError> {
        if all_hold(self.conn, checks).await? {
            self.find(finding);
        }
        Ok(())
    }

    fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.report.notes.contains(&note) {
            self.report.notes.push(note);
        }
    }
}

impl Fsck {
    /// A check of the broker's namespace.
    pub fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone(), places: Places::default(), now_ms: None }
    }

    /// The same at another time than that of Redis, for tests with a clock of their own.
    pub fn at(self, now_ms: u64) -> Self {
        Self { now_ms: Some(now_ms), ..self }
    }

    /// Looks at everything; at what seems wrong, several times. `conn` must not be shared: keys are watched on it.
    pub async fn check<C: ConnectionLike>(&mut self, conn: &mut C) -> Result<Report, BrokerError> {
        let mut report = self.look(conn).await?;
        for _ in 1..LOOKS {
            if report.findings.is_empty() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            let again = self.look(conn).await?;
            let before = std::mem::replace(&mut report, again).findings;
            report.findings.retain(|finding| before.iter().any(|earlier| earlier.is_same(finding)));
        }
        leases::lapsed(&self.broker, conn, &mut report).await?;
        Ok(report)
    }

    /// A light look at up to `keys` keys: how many there were, and how many of them are not ours or of another type.
    pub async fn glance<C: ConnectionLike>(
        broker: &Broker,
        conn: &mut C,
        keys: usize,
    ) -> Result<(usize, usize), BrokerError> {
        let seen = Inventory::read(broker, conn, keys).await?;
        Ok((seen.len(), seen.unknown.len() + seen.wrong.len()))
    }

    /// One look, which is enough where nothing moves.
    pub async fn look<C: ConnectionLike>(&mut self, conn: &mut C) -> Result<Report, BrokerError> {
        let now_ms = match self.now_ms {
            Some(now_ms) => now_ms,
            None => self.broker.redis_time_ms(conn).await?,
        };
        let inventory = Inventory::read(&self.broker, conn, usize::MAX).await?;
        let mut look = Look { broker: &self.broker, conn, inventory, now_ms, report: Report::default() };
        owners::check_names(&mut look);
        if !look.inventory.wrong.is_empty() {
            look.note("the contents of the keys were not checked, because some have another type than they should: delete these \
                 first, then check again");
            return Ok(look.done());
        }
        look.report.has_contents = true;
        owners::check(&mut look).await?;
        leases::check(&mut look).await?;
        self.places.learn(&self.broker, look.conn, &look.inventory).await?;
        dead::check(&mut look, &self.places).await?;
        let snapshot = Snapshot::take(&self.broker, look.conn, &self.places, &[]).await?;
        match &snapshot {
            Some(snapshot) => queues::check(&mut look, &self.places, snapshot).await?,
            None => look.note(TOO_MUCH),
        }
        batches::check(&mut look, &self.places, snapshot.as_ref()).await?;
        Ok(look.done())
    }
}

const TOO_MUCH: &str = "counters of queues, and whether each task stands in one place, were not checked: too much \
    stands in Redis, and it moves; pause the queues for a moment, or look when there is less";

impl<C> Look<'_, C> {
    fn done(mut self) -> Report {
        self.report.keys = self.inventory.len();
        self.report.queues = self.inventory.queues().len();
        self.report.batches = self.inventory.batches().len();
        self.report
    }
}
