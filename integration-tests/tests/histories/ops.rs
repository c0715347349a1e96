//! What can happen in a history. Numbers that pick something count modulo what there is at that moment, so
//! that every history is one that can be played, also after shrinking took parts out of it.

use std::fmt;

use gristmill_shared::Lane;

/// A whole history: what is submitted, and what happens to it.
#[derive(Debug, Clone)]
pub struct History {
    pub batches: Vec<BatchPlan>,
    pub ops: Vec<Op>,
}

/// A batch that a producer submits.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    pub queue: usize,
    pub lane: Lane,
    /// Sizes of the chunks of each call; the last call seals.
    pub calls: Vec<Vec<u32>>,
    /// One task, created and sealed by one call.
    pub single: bool,
    /// Half of the consumers do not know its kernel.
    pub strange: bool,
    pub blob: bool,
    /// Its tasks were charged before, as far as it goes: one more crash or loss ends them.
    pub worn: bool,
    /// Its results may take next to no room.
    pub frugal: bool,
    pub due: Due,
    pub life: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Now,
    Soon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Long,
    Short,
    Over,
}

/// Whether the reply to a call arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Arrives,
    /// It is lost, and the call repeated at once.
    Lost,
    /// It is lost, and the caller repeats the call when it acts next; other things may happen before.
    Late,
}

/// Which consumer acts: the one that a slot has now, or one which it had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Slot(u8),
    Zombie(u8),
}

/// Which call of a batch is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Next,
    Again(u8),
    Ahead,
}

/// How a task that was run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Succeeds,
    Fails,
    TimesOut,
    RetriesNow,
    RetriesLater,
}

/// How a consumer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    Crashes {
        position: u8,
        item: u8,
    },
    OutOfTime {
        position: u8,
        item: u8,
    },
    IsKilled {
        position: u8,
        item: Option<u8>,
    },
    WhileIdle,
    Ordered,
    /// With its machine: nobody reports it.
    Unseen,
    /// It is reported dead, and yet goes on calling.
    OnlyReported,
}

#[derive(Debug, Clone)]
pub enum Op {
    Send { batch: u8, which: Which, reply: Reply },
    Touch { batch: u8 },
    Cancel { batch: u8, tasks: Option<Vec<u8>>, reply: Reply },
    Forget { batch: u8, pick: u8 },
    DropBlob { batch: u8 },
    Claim { who: Who, messages: u8, reply: Reply },
    Settle { who: Who, take: u8, fates: Vec<Fate>, messages: u8, reply: Reply },
    Release { who: Who, keep: u8, cut: Option<(u8, u8)>, reply: Reply },
    Renew { who: Who },
    Leave { who: Who, reply: Reply },
    JoinAgain { who: Who },
    Die { slot: u8, how: Death },
    Report { pick: u8, knows_queues: bool, reply: Reply },
    Accuse { slot: u8 },
    ReadSuspect { pick: u8 },
    Judge { pick: u8, readable: bool, jitter: u8, reply: Reply },
    AgentDies,
    Tick { reclaim: bool },
    Calm { ticks: u8 },
    Stall { seconds: u8 },
    Age { days: bool },
    Promote { queue: u8, reply: Reply },
    Sweep { batch: u8, reply: Reply },
    Peek { queue: u8, lane: Lane, messages: u8 },
    Purge { reply: Reply },
    ReadLetter { queue: u8, pick: u8 },
    Revive { pick: u8, reply: Reply },
    Discard { pick: u8, reply: Reply },
    PauseQueue { queue: u8, paused: bool },
    LimitQueue { queue: u8, messages: Option<u8> },
    Rubbish { queue: u8, lane: Lane },
    Snapshot,
    Rollback,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, plan) in self.batches.iter().enumerate() {
            writeln!(f, "  batch {i}: {plan:?}")?;
        }
        for (i, op) in self.ops.iter().enumerate() {
            writeln!(f, "  {:>3}. {op:?}", i + 1)?;
        }
        Ok(())
    }
}
