//! A long random walk over all scripts: after each step every task stands in one place and every counter is right.

use gristmill_broker::script::{SOURCES, Scripts};
use gristmill_broker::*;
use gristmill_shared::dead_letter::DeadLetter;
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{
    BatchId, Certificate, DeathCause, KernelName, KernelOptions, Lane, Message, Namespace, Outcome, OutcomeKind,
    TaskId, TaskOptions,
};

use crate::fixture::*;

const QUEUES: [&str; 2] = ["a", "b"];

/// Random numbers that a failure can be repeated with.
struct Dice(u64);

impl Dice {
    /// 0 to before `n`.
    fn roll(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len())]
    }
}

/// A consumer with what it holds, oldest first.
struct Holder {
    consumer: Consumer,
    settled: u64,
    held: Vec<Message>,
}

struct Walk {
    b: Bench,
    dice: Dice,
    holders: Vec<Holder>,
    /// Open batches: id, queue, lane, next seq, tasks.
    open: Vec<(BatchId, &'static str, Lane, u64, u64)>,
    batches: Vec<BatchId>,
}

fn parked_list() -> ParkedList {
    ParkedList::Kernel(KernelName::new("square").unwrap())
}

fn sources() -> Sources {
    let parked = QUEUES.map(|name| Parked { queue: queue(name), list: parked_list() });
    Sources { parked: parked.to_vec(), ..from(&QUEUES) }
}

impl Walk {
    async fn start(seed: u64) -> Self {
        Self { b: Bench::start().await, dice: Dice(seed), holders: vec![], open: vec![], batches: vec![] }
    }

    async fn step(&mut self) {
        match self.dice.roll(20) {
            0..=2 => self.enqueue().await,
            3..=6 => self.claim().await,
            7..=10 => self.settle().await,
            11..=13 => self.release().await,
            14 => self.kill().await,
            15..=16 => self.judge().await,
            17 => self.promote().await,
            18 => self.revive().await,
            _ => self.intervene().await,
        }
    }

    async fn enqueue(&mut self) {
        if self.dice.roll(4) == 0 {
            let one = self.b.fill_one(QUEUES[self.dice.roll(2)]).await;
            self.batches.push(one.header.batch);
            return;
        }
        if self.open.is_empty() || self.dice.roll(3) == 0 {
            let (id, name) = (BatchId::new(), *self.dice.pick(&QUEUES));
            self.open.push((id, name, *self.dice.pick(&Lane::ALL), 0, 0));
            self.batches.push(id);
        }
        let at = self.dice.roll(self.open.len());
        let (id, name, lane, seq, mut tasks) = self.open[at];
        let mut messages = Vec::new();
        for _ in 0..=self.dice.roll(3) {
            let count = 1 + self.dice.roll(9) as u32;
            messages.push(message(id, name, lane, tasks, count).encode().unwrap());
            tasks += u64::from(count);
        }
        let any = message(id, name, lane, 0, 1);
        let seal = self.dice.roll(3) == 0;
        let call = Enqueue { seq, seal, ..first_call(&any, &messages) };
        let answer = self.b.try_enqueue(&call).await.unwrap();
        if self.dice.roll(3) == 0 {
            let again = self.b.try_enqueue(&call).await.unwrap();
            assert!(matches!(again, Enqueued::Duplicate { .. } | Enqueued::Sealed), "{again:?}");
        }
        if seal || answer == Enqueued::Sealed {
            self.open.swap_remove(at);
        } else {
            self.open[at] = (id, name, lane, seq + 1, tasks);
        }
    }

    async fn claim(&mut self) {
        if self.holders.len() < 4 {
            let consumer = self.b.join().await;
            self.holders.push(Holder { consumer, settled: 0, held: vec![] });
        }
        let at = self.dice.roll(self.holders.len());
        let budget = take(1 + self.dice.roll(4));
        let call = self.holders[at].consumer.next();
        let answer = self.b.broker.claim(&mut self.b.conn, &call, &sources(), budget).await.unwrap();
        self.took(at, done(answer));
        if self.dice.roll(3) == 0 {
            let again = self.b.broker.claim(&mut self.b.conn, &call, &sources(), budget).await.unwrap();
            self.is_replay(at, done(again));
        }
    }

    fn took(&mut self, at: usize, claimed: Claimed) {
        let holder = &mut self.holders[at];
        holder.settled = claimed.settled;
        assert_eq!(claimed.base, holder.settled + holder.held.len() as u64);
        holder.held.extend(parsed(&claimed));
    }

    fn is_replay(&self, at: usize, again: Claimed) {
        let holder = &self.holders[at];
        assert!(again.replayed && again.settled == holder.settled);
        assert_eq!(parsed(&again), holder.held);
    }

    /// A random end for each task of a message.
    fn end(&mut self, message: &Message, ending: &mut Ending) {
        if self.dice.roll(2) == 0 {
            ending.runs.push(run(message, vec![Outcome::Value(vec![200]); message.header.count as usize]));
            return;
        }
        for i in 0..message.header.count {
            let piece = part(message, i, i + 1);
            let to = match self.dice.roll(6) {
                0 => Destination::Front,
                1 => Destination::Back,
                2 => Destination::Scheduled { due_at_ms: 1 + self.dice.roll(9) as u64 },
                3 => Destination::Parked(parked_list()),
                4 => {
                    ending.runs.push(run(&piece, vec![bad(OutcomeKind::Failed)]));
                    ending.dead.push(letter(&piece, OutcomeKind::Failed));
                    continue;
                }
                _ => {
                    ending.runs.push(run(&piece, vec![bad(OutcomeKind::Cancelled)]));
                    continue;
                }
            };
            ending.replacements.push(back(&piece, to));
        }
    }

    async fn settle(&mut self) {
        if self.holders.is_empty() {
            return;
        }
        let at = self.dice.roll(self.holders.len());
        let k = self.dice.roll(self.holders[at].held.len() + 1);
        let gone: Vec<_> = self.holders[at].held.drain(..k).collect();
        let mut ending = Ending::default();
        for message in &gone {
            self.end(message, &mut ending);
        }
        self.holders[at].settled += k as u64;
        let (what, call) = (settlement(&gone, ending), self.holders[at].consumer.next());
        let budget = take(self.dice.roll(3));
        let answer = self.b.broker.settle(&mut self.b.conn, &call, &what, &sources(), budget).await.unwrap();
        self.took(at, done(answer));
        if self.dice.roll(3) == 0 {
            let again = self.b.broker.settle(&mut self.b.conn, &call, &what, &sources(), budget).await.unwrap();
            self.is_replay(at, done(again));
        }
    }

    async fn release(&mut self) {
        let Some(at) = (0..self.holders.len()).find(|&at| !self.holders[at].held.is_empty()) else { return };
        let (settled, len) = (self.holders[at].settled, self.holders[at].held.len());
        let keep = self.dice.roll(len + 1);
        let mut what =
            Release { from: settled + keep as u64, queues: QUEUES.map(queue).to_vec(), ..Release::default() };
        let mut cut = None;
        if keep > 0 {
            let i = self.dice.roll(keep);
            let whole = self.holders[at].held[i].clone();
            let count = whole.header.count;
            if count > 1 {
                let mut bounds = [0, 1 + self.dice.roll(count as usize - 1) as u32, 0, count];
                bounds[2] = bounds[1] + self.dice.roll((count - bounds[1]) as usize) as u32;
                let mut parts = bounds.windows(2).filter(|w| w[0] < w[1]).map(|w| part(&whole, w[0], w[1]));
                let started = parts.next().unwrap();
                what.rests = parts.collect();
                what.started = Some((settled + i as u64, started.clone()));
                cut = Some((i, started));
            }
        }
        let call = self.holders[at].consumer.next();
        done(self.b.broker.release(&mut self.b.conn, &call, &what).await.unwrap());
        self.holders[at].held.truncate(keep);
        if let Some((i, started)) = cut {
            self.holders[at].held[i] = started;
        }
        if self.dice.roll(3) == 0 {
            let again = self.b.broker.release(&mut self.b.conn, &call, &what).await.unwrap();
            self.is_replay(at, done(again));
        }
    }

    /// A consumer dies in one way or another; what it still says afterwards is not heard.
    async fn kill(&mut self) {
        if self.holders.is_empty() {
            return;
        }
        let at = self.dice.roll(self.holders.len());
        let mut dead = self.holders.swap_remove(at);
        let id = dead.consumer.id;
        let why = match self.dice.roll(4) {
            0 => DeathReport::Ordered,
            1 => DeathReport::Idle,
            2 => DeathReport::Died {
                position: dead.settled + self.dice.roll(3) as u64,
                certificate: Certificate { item: Some(0), ..Certificate::unseen(DeathCause::Crash, "c", "SIGSEGV") },
            },
            _ => {
                self.b.expire(id).await;
                let (clock, now) = (self.b.keys().clock(), self.b.now().await);
                let (last, grace) = (now.to_string(), (now - 1).to_string());
                self.b.ask::<()>(&["HSET", &clock, "last_tick_ms", &last, "grace_until_ms", &grace]).await;
                DeathReport::Expired
            }
        };
        let answer = self.b.broker.reclaim(&mut self.b.conn, id, &why, &[]).await.unwrap();
        assert!(matches!(answer, Reclaimed::Done { .. }), "{answer:?}");
        let late = self.b.try_settle(&dead.consumer.next(), &ok(&dead.held)).await.unwrap();
        assert_eq!(late, Claim::LeaseLost);
    }

    async fn judge(&mut self) {
        let key = self.b.keys().suspects();
        let stored: Vec<(String, Vec<u8>)> = self.b.ask(&["HGETALL", &key]).await;
        for (field, bytes) in stored.into_iter().take(3) {
            let suspect = Suspect::parse(&bytes).unwrap();
            let options = EffectiveOptions::of(KernelOptions::default(), &TaskOptions::default());
            let body = suspect.message.read_body().unwrap();
            let now = self.b.now().await;
            let ending = verdict(&suspect, &body, &options, 0.5, now).unwrap();
            assert!(self.b.broker.judge(&mut self.b.conn, &field, &suspect, &ending).await.unwrap());
            assert!(!self.b.broker.judge(&mut self.b.conn, &field, &suspect, &ending).await.unwrap());
        }
    }

    async fn promote(&mut self) {
        for name in QUEUES {
            self.b.broker.promote(&mut self.b.conn, &queue(name)).await.unwrap();
        }
    }

    async fn revive(&mut self) {
        let records = self.b.keys().dead_records(&queue(QUEUES[self.dice.roll(2)]));
        let letters: Vec<(String, Vec<u8>)> = self.b.ask(&["HGETALL", &records]).await;
        if letters.is_empty() {
            return;
        }
        let (task, record) = self.dice.pick(&letters);
        let (task, letter): (TaskId, _) = (task.parse().unwrap(), DeadLetter::parse(record).unwrap());
        let first = self.b.broker.revive(&mut self.b.conn, task, &letter).await.unwrap();
        let second = self.b.broker.revive(&mut self.b.conn, task, &letter).await.unwrap();
        match self.b.broker.cancelled(&mut self.b.conn, &[task.batch]).await.unwrap()[0] {
            CancelMark::All if first == Revived::Cancelled => assert_eq!(second, Revived::Cancelled),
            _ => assert_eq!((first, second), (Revived::Done, Revived::Gone)),
        }
    }

    /// Somebody cancels, purges, or an agent ticks and sweeps.
    async fn intervene(&mut self) {
        let name = QUEUES[self.dice.roll(2)];
        let lane = *self.dice.pick(&Lane::ALL);
        match self.dice.roll(3) {
            0 if !self.batches.is_empty() => {
                let batch = *self.dice.pick(&self.batches);
                let indices = (self.dice.roll(2) == 0).then_some([0]);
                self.b.broker.cancel(&mut self.b.conn, batch, indices.as_ref().map(|i| &i[..])).await.unwrap();
                self.b.broker.sweep(&mut self.b.conn, batch).await.unwrap();
            }
            1 => {
                let key = self.b.keys().ready(&queue(name), lane);
                let end = self.dice.roll(3).to_string();
                let first: Vec<Vec<u8>> = self.b.ask(&["LRANGE", &key, "0", &end]).await;
                let answer = self.b.broker.purge(&mut self.b.conn, &queue(name), lane, &first).await.unwrap();
                assert_eq!(answer, Purged::Done);
            }
            _ => drop(self.b.broker.tick(&mut self.b.conn, &QUEUES.map(queue), LEASE, 0).await.unwrap()),
        }
    }

    /// Seals what is open and settles everything until nothing is left.
    async fn drain(&mut self) {
        for (id, name, lane, seq, _) in std::mem::take(&mut self.open) {
            let any = message(id, name, lane, 0, 1);
            let answer = self.b.try_enqueue(&Enqueue { seq, ..first_call(&any, &[]) }).await.unwrap();
            assert!(matches!(answer, Enqueued::Done { .. } | Enqueued::Sealed), "{answer:?}");
        }
        while !self.holders.is_empty() {
            self.kill().await;
        }
        let mut consumer = self.b.join().await;
        loop {
            self.judge().await;
            for name in QUEUES {
                let scheduled = self.b.keys().scheduled(&queue(name));
                for m in self.b.ask::<Vec<Vec<u8>>>(&["ZRANGE", &scheduled, "0", "-1"]).await {
                    let mut add = redis::cmd("ZADD");
                    let _: () = add.arg(&scheduled).arg(1).arg(m).query_async(&mut self.b.conn).await.unwrap();
                }
            }
            self.promote().await;
            let messages = parsed(&self.b.claim(&mut consumer, &sources(), LOTS).await);
            let suspects = self.b.keys().suspects();
            if messages.is_empty() && !self.b.ask::<bool>(&["EXISTS", &suspects]).await {
                return;
            }
            self.b.settle(&mut consumer, &ok(&messages)).await;
        }
    }
}

async fn walk(seed: u64, scripts: Scripts) {
    let mut walk = Walk::start(seed).await;
    walk.b.broker = Broker::with_scripts(&Namespace::new("gm").unwrap(), scripts);
    for step in 0..250 {
        walk.step().await;
        println!("seed {seed}, step {step}");
        walk.b.audit().await;
    }
    walk.drain().await;
    walk.b.audit().await;
    for name in QUEUES {
        assert_eq!(walk.b.counters(name).await[..4], [0; 4]);
    }
    for batch in walk.batches.clone() {
        let record = walk.b.record(batch).await.unwrap();
        assert_eq!((record.state, record.ended()), (BatchState::Finished, record.tasks), "seed {seed}: {record:?}");
    }
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_miscounted_on_a_random_walk() {
    for seed in [1, 2, 3] {
        walk(seed, Scripts::new()).await;
    }
}

/// A rule of a script, and the same script without it.
const RULES: [(&str, &str); 6] = [
    ("if stored == op then return 'REPLAY', settled end", "if stored == op then return 'RUN', settled end"),
    ("if seq < next_seq then return { 'DUPLICATE', next_seq } end", "seq = next_seq"),
    ("if redis.call('HDEL', KEYS[2], ARGV[1]) ~= 1 then return { 'GONE' } end", ""),
    ("redis.call('DEL', KEYS[4], KEYS[5])", "redis.call('DEL', KEYS[4])"),
    ("redis.call('ZREM', q.scheduled, unpack(due))", ""),
    ("call_in_slices('HSET', KEYS[6], suspects)", ""),
];

/// The walk would be worth nothing if it did not notice a script that lacks its rule.
#[tokio::test]
async fn the_walk_notices_a_script_without_its_rule() {
    for (rule, without) in RULES {
        assert!(SOURCES.iter().any(|source| source.text().contains(rule)), "no script has: {rule}");
        let mut noticed = false;
        for seed in 1..=3 {
            let scripts = Scripts::edited(|source| source.text().replace(rule, without));
            noticed = noticed || tokio::spawn(walk(seed, scripts)).await.is_err();
        }
        assert!(noticed, "nobody misses: {rule}");
    }
}
