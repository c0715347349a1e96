//! After the operations: everything is brought to its end, and then its time passes.

use gristmill_broker::DeathReport;
use gristmill_shared::defaults;

use crate::dump::Dump;
use crate::hold;
use crate::model::Held;
use crate::ops::{Fate, Reply, Who};
use crate::world::World;

/// Rounds after which everything must have ended.
const ROUNDS: usize = 60;

impl World<'_> {
    /// Brings every task to its end, with consumers that do their work.
    pub async fn drain(&mut self) -> Held {
        for queue in 0..self.queues.len() as u8 {
            self.pause_queue(queue, false).await?;
            self.limit_queue(queue, None).await?;
        }
        for at in 0..self.producers.len() {
            self.submit_rest(at).await?;
        }
        let consumers: Vec<_> = self.model.leases.keys().copied().collect();
        for consumer in consumers {
            self.reclaim(consumer, &DeathReport::Ordered, true).await?;
        }
        self.agent.forget_all();
        // A new consumer which knows every kernel.
        self.respawn(0).await?;
        for _ in 0..ROUNDS {
            if self.work_off().await? {
                return self.all_ended();
            }
        }
        self.all_ended()
    }

    /// Half of the producers submit the rest of their batch; the others have disappeared.
    async fn submit_rest(&mut self, at: usize) -> Held {
        for _ in 0..8 {
            let producer = &self.producers[at];
            let seq = producer.next.min(producer.plan.calls.len() - 1);
            if at % 2 == 1 || self.send_call(at, seq).await? {
                break;
            }
        }
        Ok(())
    }

    /// One round of judging, promoting, claiming and settling. True if nothing was left.
    async fn work_off(&mut self) -> Held<bool> {
        while !self.model.suspects.is_empty() {
            self.read_suspect(0).await?;
            self.judge(0, true, 0, Reply::Arrives).await?;
        }
        for queue in 0..self.queues.len() as u8 {
            if self.model.due.get(self.queue(queue).as_str()).is_some_and(|due| !due.is_empty()) {
                self.promote(queue, Reply::Arrives).await?;
            }
        }
        let who = Who::Slot(0);
        self.settle(who, u8::MAX, &[Fate::Succeeds], u8::MAX, Reply::Arrives).await?;
        let scheduled = self.model.due.values().any(|due| !due.is_empty());
        if self.model.is_idle() && scheduled {
            // Longer than any back-off.
            self.pass(defaults::BACKOFF_MAX.as_millis() as u64).await?;
            self.renew(who).await?;
        }
        Ok(self.model.is_idle() && !scheduled)
    }

    /// Every sealed batch that is there has finished.
    fn all_ended(&self) -> Held {
        for (id, batch) in &self.model.batches {
            let left: Vec<_> = batch.members.difference(&batch.ended).collect();
            hold!(left.is_empty(), "the tasks {left:?} of {id} never end");
            let finished = batch.finished_at.is_some() || batch.total.is_none();
            hold!(finished, "{id} is sealed, has all its outcomes, and is not finished");
        }
        Ok(())
    }

    /// Lets every life end. Nothing may be left but the list of queues and their counters.
    pub async fn outlive(&mut self) -> Held {
        self.leave(Who::Slot(0), Reply::Arrives).await?;
        self.pass(400_000).await?;
        self.tick(true).await?;
        self.check().await?;
        for _ in 0..2 {
            self.pass(40 * 24 * 3_600_000).await?;
            self.see_what_expired().await?;
            self.tick(true).await?;
        }
        self.pass(8 * 24 * 3_600_000).await?;
        let prefix = self.keys().prefix();
        let dump = Dump::read(&mut self.conn, prefix).await?;
        let left: Vec<_> =
            dump.keys().map(|(name, _)| name).filter(|name| *name != "queues" && !name.starts_with("queue:")).collect();
        hold!(left.is_empty(), "{left:?} are left when everything has ended and expired");
        Ok(())
    }
}
