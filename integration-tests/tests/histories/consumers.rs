//! Consumers: what each remembers, and its calls. A consumer that lost its lease, or was reported dead, goes
//! on calling as a zombie, with what it remembers.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use gristmill_broker::{
    Budget, Call, Claim, ClaimFlag, Claimed, ClaimedMessage, DeathReport, Destination, Left, Parked, ParkedList,
    Release, Renewed, Settlement, Sources,
};
use gristmill_shared::{Certificate, ConsumerId, DeathCause, KernelName, Message, QueueName};

use crate::endings::settlement;
use crate::hold;
use crate::model::{Broken, Fence, Held, LEASE_MS, Mark, Model};
use crate::ops::{Death, Fate, Reply, Who};
use crate::producers::KERNELS;
use crate::world::World;

pub const LEASE: Duration = Duration::from_millis(LEASE_MS);

/// A place for one consumer at a time.
#[derive(Default)]
pub struct Slot {
    pub current: Option<Consumer>,
    pub former: Vec<Consumer>,
}

/// One incarnation, as it sees itself.
pub struct Consumer {
    pub id: ConsumerId,
    /// The last call that was answered.
    op: u64,
    pub settled: u64,
    pub held: VecDeque<ClaimedMessage>,
    /// A call whose reply was lost; it is repeated before anything else.
    pending: Option<FencedCall>,
    sources: Sources,
    knows_strange: bool,
}

/// A call that carries an op.
#[derive(Clone)]
pub enum FencedCall {
    Claim(Budget),
    Settle(Settlement, Budget),
    Release(Release),
}

impl FencedCall {
    fn script(&self) -> &'static str {
        match self {
            Self::Claim(_) => "claim",
            Self::Settle(..) => "settle",
            Self::Release(_) => "release",
        }
    }
}

impl Consumer {
    /// What the answer to a call tells it.
    fn learn(&mut self, call: &FencedCall, claimed: Claimed) -> Held {
        self.op += 1;
        if claimed.replayed {
            (self.settled, self.held) = (claimed.settled, claimed.messages.into());
            return Ok(());
        }
        match call {
            FencedCall::Claim(_) => {}
            FencedCall::Settle(what, _) => {
                self.held.drain(..what.take.len());
                self.settled += what.take.len() as u64;
            }
            FencedCall::Release(what) => {
                self.held.truncate((what.from - self.settled) as usize);
                if let Some((position, started)) = &what.started {
                    self.held[(position - self.settled) as usize].bytes = started.encode()?;
                }
                return Ok(());
            }
        }
        let base = self.settled + self.held.len() as u64;
        hold!(claimed.settled == self.settled && claimed.base == base, "positions are wrong: {claimed:?}");
        self.held.extend(claimed.messages);
        Ok(())
    }

    fn release(&self, keep: u8, cut: Option<(u8, u8)>) -> Held<Release> {
        let keep = usize::from(keep).min(self.held.len());
        let mut what = Release { from: self.settled + keep as u64, ..Release::default() };
        let mut queues = BTreeSet::new();
        for message in self.held.iter().skip(keep) {
            queues.insert(Message::parse(&message.bytes)?.header.queue);
        }
        if let (Some((started, pieces)), Some(last)) = (cut, keep.checked_sub(1)) {
            let message = Message::parse(&self.held[last].bytes)?;
            let count = message.header.count;
            if count > 1 {
                let started = 1 + u32::from(started) % (count - 1);
                let body = message.read_body()?;
                what.started = Some((self.settled + last as u64, message.slice(&body, 0..started)?));
                let step = (count - started).div_ceil(1 + u32::from(pieces));
                for first in (started..count).step_by(step as usize) {
                    what.rests.push(message.slice(&body, first..count.min(first + step))?);
                }
                queues.insert(message.header.queue);
            }
        }
        what.queues = queues.into_iter().collect();
        Ok(what)
    }
}

impl World<'_> {
    /// Puts a new consumer into a slot; the one that was there becomes a former one.
    pub async fn respawn(&mut self, slot: usize) -> Held {
        let former = self.slots[slot].current.take();
        self.slots[slot].former.extend(former);
        let knows_strange = slot.is_multiple_of(2);
        let mut queues = self.queues.clone();
        queues.rotate_left(slot / 2 % 2);
        let parked = |queue: &QueueName| {
            let list = ParkedList::Kernel(KernelName::new(KERNELS[1])?);
            Ok::<_, Broken>(Parked { queue: queue.clone(), list })
        };
        let parked = if knows_strange { queues.iter().map(parked).collect::<Held<Vec<_>>>()? } else { Vec::new() };
        let consumer = Consumer {
            id: self.consumer_id(),
            op: 0,
            settled: 0,
            held: VecDeque::new(),
            pending: None,
            sources: Sources { queues, parked },
            knows_strange,
        };
        self.join(consumer.id, true).await?;
        self.slots[slot].current = Some(consumer);
        Ok(())
    }

    async fn join(&mut self, id: ConsumerId, fresh: bool) -> Held {
        let expected = match self.model.leases.get(&id) {
            // Neither lease nor hash are left of a reclaimed id; its worker never joins with it again.
            None => fresh,
            Some(lease) => lease.op == 0 && lease.inflight.is_empty(),
        };
        let joined = self.broker.join(&mut self.conn, id, "worker", LEASE).await?;
        hold!(joined == expected, "join of {id} answered {joined}");
        self.coverage.reply("join", if joined { "DONE" } else { "USED" });
        if joined {
            self.model.leases.entry(id).or_default();
            self.model.keep_lease(id, 0)?;
        }
        Ok(())
    }

    /// The reply to a join may be lost, too.
    pub async fn join_again(&mut self, who: Who) -> Held {
        let id = self.consumer(who).await?.id;
        if self.model.leases.contains_key(&id) { self.join(id, false).await } else { Ok(()) }
    }

    /// The consumer meant; an empty slot gets a new one.
    async fn consumer(&mut self, who: Who) -> Held<&mut Consumer> {
        let (slot, former) = self.find(who);
        if former.is_none() && self.slots[slot].current.is_none() {
            self.respawn(slot).await?;
        }
        let slot = &mut self.slots[slot];
        let found = match former {
            Some(former) => slot.former.get_mut(former),
            None => slot.current.as_mut(),
        };
        found.ok_or_else(|| Broken("a slot is empty".into()))
    }

    fn find(&self, who: Who) -> (usize, Option<usize>) {
        match who {
            Who::Slot(slot) => (usize::from(slot) % self.slots.len(), None),
            Who::Zombie(pick) => {
                let slots = (0..self.slots.len())
                    .flat_map(|slot| (0..self.slots[slot].former.len()).map(move |former| (slot, Some(former))));
                let zombies: Vec<_> = slots.collect();
                zombies.get(usize::from(pick) % zombies.len().max(1)).copied().unwrap_or((0, None))
            }
        }
    }

    pub async fn claim(&mut self, who: Who, messages: u8, reply: Reply) -> Held {
        let call = FencedCall::Claim(budget(messages));
        self.call(who, call, reply).await
    }

    pub async fn settle(&mut self, who: Who, take: u8, fates: &[Fate], messages: u8, reply: Reply) -> Held {
        let (now, nonce) = (self.model.now, self.count());
        let consumer = self.consumer(who).await?;
        let done: Vec<_> = consumer.held.iter().take(usize::from(take)).cloned().collect();
        let what = settlement(&done, fates, consumer.knows_strange, nonce, now)?;
        self.call(who, FencedCall::Settle(what, budget(messages)), reply).await
    }

    pub async fn release(&mut self, who: Who, keep: u8, cut: Option<(u8, u8)>, reply: Reply) -> Held {
        let what = self.consumer(who).await?.release(keep, cut)?;
        self.call(who, FencedCall::Release(what), reply).await
    }

    /// Makes a call, or repeats the one whose reply was lost before.
    async fn call(&mut self, who: Who, call: FencedCall, reply: Reply) -> Held {
        let consumer = self.consumer(who).await?;
        let repeated = consumer.pending.is_some();
        let call = consumer.pending.take().unwrap_or(call);
        self.coverage.event("call repeated after other things happened", usize::from(repeated));
        let consumer = self.consumer(who).await?;
        let (id, op, sources) = (consumer.id, consumer.op + 1, consumer.sources.clone());
        let mut answer = self.fenced(id, op, &call, &sources).await?;
        match reply {
            Reply::Arrives => {}
            Reply::Lost => answer = self.fenced(id, op, &call, &sources).await?,
            Reply::Late => {
                self.consumer(who).await?.pending = Some(call);
                return Ok(());
            }
        }
        match answer {
            Claim::Done(claimed) => self.consumer(who).await?.learn(&call, claimed),
            Claim::LeaseLost => {
                self.retire(who);
                Ok(())
            }
        }
    }

    /// One call with an op, checked against the model.
    async fn fenced(&mut self, id: ConsumerId, op: u64, call: &FencedCall, sources: &Sources) -> Held<Claim> {
        let (expected, ahead) = (self.model.fence(id, op), self.model.leases.contains_key(&id));
        let head = Call { consumer: id, op, lease: LEASE };
        let conn = &mut self.conn;
        let answer = match call {
            FencedCall::Claim(budget) => self.broker.claim(conn, &head, sources, *budget).await?,
            FencedCall::Settle(what, budget) => self.broker.settle(conn, &head, what, sources, *budget).await?,
            FencedCall::Release(what) => self.broker.release(conn, &head, what).await?,
        };
        let found = match &answer {
            Claim::Done(claimed) if claimed.replayed => Fence::Replay,
            Claim::Done(_) => Fence::Run,
            Claim::LeaseLost => Fence::Lost,
        };
        hold!(found == expected, "{} {op} of {id} should {expected:?}, and did {found:?}", call.script());
        match &answer {
            Claim::Done(claimed) if claimed.replayed => {
                self.coverage.reply(call.script(), "REPLAY");
                let lease = &self.model.leases[&id];
                let same = claimed.messages.iter().map(|m| &m.bytes).eq(&lease.inflight);
                hold!(same && claimed.settled == lease.settled, "a repeated call of {id} shows another state");
                hold!(claimed.base == lease.settled, "a repeated call lists from {}", claimed.base);
            }
            Claim::Done(claimed) => {
                self.coverage.reply(call.script(), "DONE");
                self.ran(id, op, call, claimed)?;
            }
            Claim::LeaseLost => {
                self.coverage.reply(call.script(), "LOST");
                let why = if ahead { "consumer ahead of a rolled back Redis refused" } else { "zombie refused" };
                self.coverage.event(why, 1);
            }
        }
        if let Claim::Done(claimed) = &answer {
            self.check_flags(claimed)?;
        }
        Ok(answer)
    }

    /// Brings the model up to a call that ran.
    fn ran(&mut self, id: ConsumerId, op: u64, call: &FencedCall, claimed: &Claimed) -> Held {
        match call {
            FencedCall::Claim(_) => _ = self.model.keep_lease(id, op)?,
            FencedCall::Settle(what, _) => {
                let written = self.model.settle(id, op, what)?;
                self.written("task recorded by settle", &written);
                let replacements = &what.ending.replacements;
                let parked = replacements.iter().filter(|r| matches!(r.to, Destination::Parked(_))).count();
                self.coverage.event("message parked", parked);
                self.coverage.event("retry in a message of its own", replacements.len() - parked);
                self.coverage.event("dead letter", what.ending.dead.len());
            }
            FencedCall::Release(what) => {
                self.model.release(id, op, what)?;
                self.coverage.event("chunk cut by release", usize::from(what.started.is_some()));
                hold!(claimed.messages.is_empty(), "release gave messages");
            }
        }
        for message in &claimed.messages {
            let queue = Message::parse(&message.bytes)?.header.queue;
            hold!(!self.model.paused.contains(queue.as_str()), "a message of the paused queue {queue} was claimed");
        }
        let lease = self.model.keep_lease(id, op)?;
        hold!(claimed.settled == lease.settled, "{id} has settled {}, not {}", lease.settled, claimed.settled);
        lease.inflight.extend(claimed.messages.iter().map(|message| message.bytes.clone()));
        Ok(())
    }

    fn check_flags(&mut self, claimed: &Claimed) -> Held {
        for message in &claimed.messages {
            let expected = flag(&self.model, &Message::parse(&message.bytes)?);
            hold!(message.flag == expected, "a message is flagged {:?}, not {expected:?}", message.flag);
            match expected {
                ClaimFlag::None => {}
                ClaimFlag::Cancelled => self.coverage.event("claimed: cancelled", 1),
                ClaimFlag::SomeCancelled(_) => self.coverage.event("claimed: some cancelled", 1),
                ClaimFlag::Expired => self.coverage.event("claimed: expired", 1),
                ClaimFlag::OverBudget(_) => self.coverage.event("claimed: over budget", 1),
            }
        }
        Ok(())
    }

    pub async fn renew(&mut self, who: Who) -> Held {
        let id = self.consumer(who).await?.id;
        let expected = self.model.leases.contains_key(&id);
        let renewed = self.broker.renew(&mut self.conn, id, LEASE).await? != Renewed::LeaseLost;
        hold!(renewed == expected, "a renewal of {id} answered {renewed}");
        self.coverage.reply("renew", if renewed { "DONE" } else { "LOST" });
        if renewed {
            let op = self.model.leases[&id].op;
            self.model.keep_lease(id, op)?;
        } else {
            self.retire(who);
        }
        Ok(())
    }

    pub async fn leave(&mut self, who: Who, reply: Reply) -> Held {
        let id = self.consumer(who).await?.id;
        for _ in 0..1 + u8::from(reply != Reply::Arrives) {
            let expected = match self.model.leases.get(&id) {
                None => Left::LeaseLost,
                Some(lease) if lease.inflight.is_empty() => Left::Done,
                Some(_) => Left::InFlight,
            };
            let left = self.broker.leave(&mut self.conn, id).await?;
            hold!(left == expected, "leave of {id} answered {left:?}, not {expected:?}");
            match left {
                Left::Done => {
                    self.model.drop_lease(id);
                    self.coverage.reply("leave", "DONE");
                }
                Left::InFlight => self.coverage.reply("leave", "INFLIGHT"),
                Left::LeaseLost => self.coverage.reply("leave", "LOST"),
            }
        }
        if !self.model.leases.contains_key(&id) {
            self.retire(who);
        }
        Ok(())
    }

    /// A consumer that has no lease makes room for a successor, and may come back as a zombie.
    fn retire(&mut self, who: Who) {
        if let (slot, None) = self.find(who) {
            let slot = &mut self.slots[slot];
            slot.former.extend(slot.current.take());
        }
    }

    pub async fn die(&mut self, slot: u8, how: Death) -> Held {
        let who = Who::Slot(slot);
        let consumer = self.consumer(who).await?;
        let (id, settled, held) = (consumer.id, consumer.settled, consumer.held.len().max(1) as u64);
        let certificate = |cause, item: Option<u8>| {
            let mut certificate = Certificate::unseen(cause, id.to_string(), "it died in a history");
            certificate.item = item.map(u32::from);
            certificate
        };
        use DeathReport::{Died, Idle, Ordered};
        // Mostly what is in flight; sometimes what has just been settled, or given back.
        let at = |position: u8| settled + u64::from(position) % (held + u64::from(position / 3));
        let report = match how {
            Death::Crashes { position, item } => {
                Some(Died { position: at(position), certificate: certificate(DeathCause::Crash, Some(item)) })
            }
            Death::OutOfTime { position, item } => {
                Some(Died { position: at(position), certificate: certificate(DeathCause::TimeLimit, Some(item)) })
            }
            Death::IsKilled { position, item } => {
                Some(Died { position: at(position), certificate: certificate(DeathCause::Loss, item) })
            }
            Death::WhileIdle | Death::OnlyReported => Some(Idle),
            Death::Ordered => Some(Ordered),
            Death::Unseen => None,
        };
        self.agent.reports.extend(report.map(|report| (id, report)));
        self.deaths += 1;
        if how != Death::OnlyReported {
            self.retire(who);
        }
        Ok(())
    }
}

fn budget(messages: u8) -> Budget {
    Budget { messages: usize::from(messages), tasks: 8, bytes: 1 << 20 }
}

/// How the script should flag a message.
fn flag(model: &Model, message: &Message) -> ClaimFlag {
    let expired = message.header.expires_at_ms <= model.now;
    match model.marks.get(&message.header.batch) {
        Some(Mark::All) => ClaimFlag::Cancelled,
        Some(Mark::OverBudget(budget, _)) => ClaimFlag::OverBudget(*budget),
        Some(Mark::Tasks(tasks)) if !expired => ClaimFlag::SomeCancelled(tasks.clone()),
        _ if expired => ClaimFlag::Expired,
        _ => ClaimFlag::None,
    }
}
