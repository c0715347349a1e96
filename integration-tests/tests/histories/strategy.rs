//! Random histories, and how a failing one is made smaller.

use gristmill_shared::Lane;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::TestRunner;

use crate::ops::{BatchPlan, Death, Due, Fate, History, Life, Op, Reply, Which, Who};

/// Operations of a history before anything is taken out of it.
pub const OPS: std::ops::RangeInclusive<usize> = 50..=75;

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![3 => Just(Lane::Normal), 1 => Just(Lane::High), 1 => Just(Lane::Low)]
}

fn batch() -> impl Strategy<Value = BatchPlan> {
    let calls = prop::collection::vec(prop::collection::vec(1u32..=6, 1..=3), 1..=4);
    let due = prop_oneof![5 => Just(Due::Now), 1 => Just(Due::Soon)];
    let life = prop_oneof![14 => Just(Life::Long), 2 => Just(Life::Short), 1 => Just(Life::Over)];
    let often = || prop::bool::weighted(0.25);
    let kinds = (often(), often(), often(), often(), often());
    (0..2usize, lane(), calls, kinds, due, life).prop_map(|(queue, lane, calls, kinds, due, life)| {
        let (single, strange, blob, worn, frugal) = kinds;
        let calls = if single { vec![vec![1]] } else { calls };
        BatchPlan { queue, lane, calls, single, strange, blob, worn, frugal, due, life }
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![6 => Just(Reply::Arrives), 1 => Just(Reply::Lost), 1 => Just(Reply::Late)]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![8 => (0..4u8).prop_map(Who::Slot), 1 => any::<u8>().prop_map(Who::Zombie)]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Succeeds),
        1 => Just(Fate::Fails),
        1 => Just(Fate::TimesOut),
        1 => Just(Fate::RetriesNow),
        1 => Just(Fate::RetriesLater),
    ]
}

fn death() -> impl Strategy<Value = Death> {
    let (position, item) = (0..4u8, 0..6u8);
    prop_oneof![
        3 => (position.clone(), item.clone()).prop_map(|(position, item)| Death::Crashes { position, item }),
        1 => (position.clone(), item.clone()).prop_map(|(position, item)| Death::OutOfTime { position, item }),
        2 => (position, option::of(item)).prop_map(|(position, item)| Death::IsKilled { position, item }),
        1 => Just(Death::WhileIdle),
        1 => Just(Death::Ordered),
        3 => Just(Death::Unseen),
        2 => Just(Death::OnlyReported),
    ]
}

fn die() -> impl Strategy<Value = Op> {
    (0..4u8, death()).prop_map(|(slot, how)| Op::Die { slot, how })
}

fn producer_op() -> impl Strategy<Value = Op> {
    let which = prop_oneof![8 => Just(Which::Next), 2 => any::<u8>().prop_map(Which::Again), 1 => Just(Which::Ahead)];
    let tasks = option::of(prop::collection::vec(0..20u8, 1..4));
    let batch = any::<u8>();
    prop_oneof![
        16 => (batch, which, reply()).prop_map(|(batch, which, reply)| Op::Send { batch, which, reply }),
        1 => batch.prop_map(|batch| Op::Touch { batch }),
        3 => (batch, tasks, reply()).prop_map(|(batch, tasks, reply)| Op::Cancel { batch, tasks, reply }),
        2 => (batch, any::<u8>()).prop_map(|(batch, pick)| Op::Forget { batch, pick }),
        1 => batch.prop_map(|batch| Op::DropBlob { batch }),
    ]
}

fn consumer_op() -> impl Strategy<Value = Op> {
    let fates = prop::collection::vec(fate(), 1..5);
    let cut = option::of((0..6u8, 0..4u8));
    prop_oneof![
        12 => (who(), 1..5u8, reply()).prop_map(|(who, messages, reply)| Op::Claim { who, messages, reply }),
        16 => (who(), 0..4u8, fates, 0..3u8, reply())
            .prop_map(|(who, take, fates, messages, reply)| Op::Settle { who, take, fates, messages, reply }),
        7 => (who(), 0..5u8, cut, reply()).prop_map(|(who, keep, cut, reply)| Op::Release { who, keep, cut, reply }),
        2 => who().prop_map(|who| Op::Renew { who }),
        2 => (who(), reply()).prop_map(|(who, reply)| Op::Leave { who, reply }),
        1 => who().prop_map(|who| Op::JoinAgain { who }),
    ]
}

fn agent_op() -> impl Strategy<Value = Op> {
    let pick = any::<u8>();
    prop_oneof![
        4 => (pick, any::<bool>(), reply())
            .prop_map(|(pick, knows_queues, reply)| Op::Report { pick, knows_queues, reply }),
        1 => (0..4u8).prop_map(|slot| Op::Accuse { slot }),
        5 => pick.prop_map(|pick| Op::ReadSuspect { pick }),
        6 => (pick, prop::bool::weighted(0.8), pick, reply())
            .prop_map(|(pick, readable, jitter, reply)| Op::Judge { pick, readable, jitter, reply }),
        1 => Just(Op::AgentDies),
        2 => prop::bool::weighted(0.8).prop_map(|reclaim| Op::Tick { reclaim }),
        2 => (1..8u8).prop_map(|ticks| Op::Calm { ticks }),
        1 => (1..60u8).prop_map(|seconds| Op::Stall { seconds }),
        3 => (pick, reply()).prop_map(|(queue, reply)| Op::Promote { queue, reply }),
        2 => (pick, reply()).prop_map(|(batch, reply)| Op::Sweep { batch, reply }),
    ]
}

fn rare_op() -> impl Strategy<Value = Op> {
    let pick = any::<u8>();
    let limit = option::of(0..6u8);
    prop_oneof![
        5 => (pick, lane(), 1..4u8).prop_map(|(queue, lane, messages)| Op::Peek { queue, lane, messages }),
        9 => reply().prop_map(|reply| Op::Purge { reply }),
        6 => (pick, pick).prop_map(|(queue, pick)| Op::ReadLetter { queue, pick }),
        12 => (pick, reply()).prop_map(|(pick, reply)| Op::Revive { pick, reply }),
        3 => (pick, reply()).prop_map(|(pick, reply)| Op::Discard { pick, reply }),
        3 => (pick, prop::bool::weighted(0.3)).prop_map(|(queue, paused)| Op::PauseQueue { queue, paused }),
        2 => (pick, limit).prop_map(|(queue, messages)| Op::LimitQueue { queue, messages }),
        1 => (pick, lane()).prop_map(|(queue, lane)| Op::Rubbish { queue, lane }),
        4 => Just(Op::Snapshot),
        4 => Just(Op::Rollback),
        1 => any::<bool>().prop_map(|days| Op::Age { days }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![20 => producer_op(), 40 => consumer_op(), 23 => agent_op(), 5 => die(), 12 => rare_op()]
}

/// Histories of [`OPS`] operations, at least one of them a death.
#[derive(Debug)]
pub struct Histories;

type Tree<T> = Box<dyn ValueTree<Value = T>>;

impl Strategy for Histories {
    type Tree = HistoryTree;
    type Value = History;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let batches = prop::collection::vec(batch(), 2..=4).new_tree(runner)?;
        let count = OPS.new_tree(runner)?.current();
        let certain_death = (0..count).new_tree(runner)?.current();
        let (op, die) = (op().boxed(), die().boxed());
        let ops = (0..count).map(|i| if i == certain_death { die.new_tree(runner) } else { op.new_tree(runner) });
        let ops: Vec<_> = ops.collect::<Result<_, _>>()?;
        let (included, step) = (vec![true; count], Step::Drop { at: 0, len: count / 2 });
        Ok(HistoryTree { batches: Box::new(batches), ops, included, dropped: Vec::new(), step })
    }
}

/// Shrinks by dropping operations, in large pieces first; then what is left is made simpler one by one.
pub struct HistoryTree {
    batches: Tree<Vec<BatchPlan>>,
    ops: Vec<Tree<Op>>,
    included: Vec<bool>,
    /// What the last step left out.
    dropped: Vec<usize>,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The next piece of the operations that are left.
    Drop { at: usize, len: usize },
    /// The plans of the batches.
    Batches,
    /// The operation at this place.
    Simplify { at: usize },
}

impl HistoryTree {
    fn left(&self) -> Vec<usize> {
        (0..self.ops.len()).filter(|&i| self.included[i]).collect()
    }
}

impl ValueTree for HistoryTree {
    type Value = History;

    fn current(&self) -> History {
        let ops = self.left().into_iter().map(|i| self.ops[i].current()).collect();
        History { batches: self.batches.current(), ops }
    }

    fn simplify(&mut self) -> bool {
        loop {
            match self.step {
                Step::Drop { len: 0, .. } => self.step = Step::Batches,
                Step::Drop { at, len } => {
                    let left = self.left();
                    if at >= left.len() {
                        self.step = Step::Drop { at: 0, len: len / 2 };
                        continue;
                    }
                    self.dropped = left.into_iter().skip(at).take(len).collect();
                    self.dropped.iter().for_each(|&i| self.included[i] = false);
                    return true;
                }
                Step::Batches if self.batches.simplify() => return true,
                Step::Batches => self.step = Step::Simplify { at: 0 },
                Step::Simplify { at } if at >= self.ops.len() => return false,
                Step::Simplify { at } if self.included[at] && self.ops[at].simplify() => return true,
                Step::Simplify { at } => self.step = Step::Simplify { at: at + 1 },
            }
        }
    }

    fn complicate(&mut self) -> bool {
        match self.step {
            Step::Drop { at, len } => {
                // It was needed: back it comes, and the next piece is tried.
                self.dropped.iter().for_each(|&i| self.included[i] = true);
                self.step = Step::Drop { at: at + len, len };
                self.simplify()
            }
            Step::Batches => {
                if !self.batches.complicate() {
                    self.step = Step::Simplify { at: 0 };
                }
                true
            }
            Step::Simplify { at } => {
                if !self.ops[at].complicate() {
                    self.step = Step::Simplify { at: at + 1 };
                }
                true
            }
        }
    }
}
