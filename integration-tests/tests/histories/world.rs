//! The world of one history: a Redis, the model of it, and the actors with their memories.

use std::collections::BTreeSet;

use gristmill_broker::Broker;
use gristmill_shared::{BatchId, ConsumerId, Keys, QueueName};
use redis::aio::MultiplexedConnection;

use crate::agents::Agent;
use crate::clock::{Clock, GRID_MS};
use crate::consumers::Slot;
use crate::coverage::Coverage;
use crate::model::{Held, Model};
use crate::ops::{History, Op};
use crate::producers::Producer;

/// Consumers that a history has at a time.
pub const SLOTS: usize = 4;

pub struct World<'a> {
    pub conn: MultiplexedConnection,
    pub broker: &'a Broker,
    pub clock: &'a Clock,
    pub coverage: &'a mut Coverage,
    pub queues: Vec<QueueName>,
    pub model: Model,
    /// What a rollback goes back to.
    pub snapshot: Option<Model>,
    pub slots: Vec<Slot>,
    pub producers: Vec<Producer>,
    pub agent: Agent,
    /// Batches of which readers let results go.
    pub forgotten: BTreeSet<BatchId>,
    pub deaths: u64,
    /// Makes outcomes and ids differ from each other, and not from run to run.
    counter: u64,
}

impl<'a> World<'a> {
    pub async fn new(
        conn: MultiplexedConnection,
        broker: &'a Broker,
        clock: &'a Clock,
        coverage: &'a mut Coverage,
        history: &History,
    ) -> Held<Self> {
        let queues = ["left", "right"].map(QueueName::new).into_iter().collect::<Result<Vec<_>, _>>()?;
        let real_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as u64;
        let model = Model { now: real_ms - real_ms % GRID_MS, ..Model::default() };
        let mut world = Self {
            conn,
            broker,
            clock,
            coverage,
            queues,
            model,
            snapshot: None,
            slots: Vec::new(),
            producers: Vec::new(),
            agent: Agent::default(),
            forgotten: BTreeSet::new(),
            deaths: 0,
            counter: 0,
        };
        world.clock.start(&mut world.conn, world.model.now).await?;
        for plan in &history.batches {
            let producer = Producer::new(plan.clone(), &mut world)?;
            world.producers.push(producer);
        }
        for slot in 0..SLOTS {
            world.slots.push(Slot::default());
            world.respawn(slot).await?;
        }
        Ok(world)
    }

    pub fn keys(&self) -> &'a Keys {
        self.broker.keys()
    }

    /// Consumers that there were.
    pub fn consumers(&self) -> u64 {
        self.slots.iter().map(|slot| slot.former.len() as u64 + u64::from(slot.current.is_some())).sum()
    }

    /// A number that was not there before.
    pub fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub fn consumer_id(&mut self) -> ConsumerId {
        ConsumerId::from_halves(0x0190_0000_0000_7000, 0x8000_0000_0000_0000 + self.count())
    }

    pub fn batch_id(&mut self) -> BatchId {
        let n = u128::from(self.count());
        BatchId::from_bytes((0x0190_0000_0000_7000_8000_0000_0000_0000_u128 + n).to_be_bytes())
    }

    pub fn queue(&self, pick: u8) -> QueueName {
        self.queues[usize::from(pick) % self.queues.len()].clone()
    }

    /// Lets time pass.
    pub async fn pass(&mut self, ms: u64) -> Held {
        debug_assert_eq!(ms % GRID_MS, 0);
        self.model.now += ms;
        Ok(self.clock.pass(&mut self.conn, ms).await?)
    }

    /// Plays one operation.
    pub async fn play(&mut self, op: &Op) -> Held {
        match op {
            Op::Send { batch, which, reply } => self.send(*batch, *which, *reply).await,
            Op::Touch { batch } => self.touch(*batch).await,
            Op::Cancel { batch, tasks, reply } => self.cancel(*batch, tasks.as_deref(), *reply).await,
            Op::Forget { batch, pick } => self.forget(*batch, *pick).await,
            Op::DropBlob { batch } => self.drop_blob(*batch).await,
            Op::Claim { who, messages, reply } => self.claim(*who, *messages, *reply).await,
            Op::Settle { who, take, fates, messages, reply } => {
                self.settle(*who, *take, fates, *messages, *reply).await
            }
            Op::Release { who, keep, cut, reply } => self.release(*who, *keep, *cut, *reply).await,
            Op::Renew { who } => self.renew(*who).await,
            Op::Leave { who, reply } => self.leave(*who, *reply).await,
            Op::JoinAgain { who } => self.join_again(*who).await,
            Op::Die { slot, how } => self.die(*slot, *how).await,
            Op::Report { pick, knows_queues, reply } => self.report(*pick, *knows_queues, *reply).await,
            Op::Accuse { slot } => self.accuse(*slot).await,
            Op::ReadSuspect { pick } => self.read_suspect(*pick).await,
            Op::Judge { pick, readable, jitter, reply } => self.judge(*pick, *readable, *jitter, *reply).await,
            Op::AgentDies => {
                self.agent.forget_all();
                Ok(())
            }
            Op::Tick { reclaim } => self.tick(*reclaim).await,
            Op::Calm { ticks } => self.calm(*ticks).await,
            Op::Stall { seconds } => self.pass(u64::from(*seconds) * GRID_MS).await,
            Op::Age { days } => self.age(*days).await,
            Op::Promote { queue, reply } => self.promote(*queue, *reply).await,
            Op::Sweep { batch, reply } => self.sweep_some(*batch, *reply).await,
            Op::Peek { queue, lane, messages } => self.peek(*queue, *lane, *messages).await,
            Op::Purge { reply } => self.purge(*reply).await,
            Op::ReadLetter { queue, pick } => self.read_letter(*queue, *pick).await,
            Op::Revive { pick, reply } => self.revive(*pick, *reply).await,
            Op::Discard { pick, reply } => self.discard(*pick, *reply).await,
            Op::PauseQueue { queue, paused } => self.pause_queue(*queue, *paused).await,
            Op::LimitQueue { queue, messages } => self.limit_queue(*queue, *messages).await,
            Op::Rubbish { queue, lane } => self.rubbish(*queue, *lane).await,
            Op::Snapshot => {
                self.snapshot = Some(self.model.clone());
                Ok(self.clock.snapshot(&mut self.conn).await?)
            }
            Op::Rollback => self.rollback().await,
        }
    }

    /// Redis loses its last writes, by a fail-over or because they had not reached the disk.
    async fn rollback(&mut self) -> Held {
        let Some(snapshot) = self.snapshot.take() else { return Ok(()) };
        let (now, serial) = (self.model.now, self.model.serial);
        self.model = Model { now, serial, ..snapshot };
        self.clock.rollback(&mut self.conn).await?;
        self.coverage.event("rollback", 1);
        self.see_what_expired().await
    }
}
