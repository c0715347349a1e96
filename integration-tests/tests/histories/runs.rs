//! Running many histories, on two threads with a private Redis each.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gristmill_broker::Broker;
use gristmill_broker::script::{Scripts, Source};
use gristmill_embedded::EmbeddedRedis;
use gristmill_shared::Namespace;
use gristmill_shared::connection::{Endpoint, Timeouts, connect};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;

use crate::clock::{self, Clock};
use crate::coverage::Coverage;
use crate::model::{Broken, Held};
use crate::ops::History;
use crate::strategy::Histories;
use crate::world::World;

/// Runs of histories, while a failing one is made smaller.
const SHRINK_RUNS: u32 = 2_000;

/// Which histories to play.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub histories: u64,
    pub seed: u64,
    /// The number of the first.
    first: u64,
    threads: u64,
    shrink_runs: u32,
    /// Only what Redis holds in the end decides, not what the scripts answer.
    blind: bool,
}

/// A history that broke a promise.
#[derive(Debug)]
pub struct Failure {
    pub plan: Plan,
    pub number: u64,
    pub why: String,
    pub smallest: History,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, seed) = (self.number, self.plan.seed);
        writeln!(f, "history {number} of seed {seed} breaks a promise: {}", self.why)?;
        writeln!(f, "again: GRISTMILL_SEED={seed} GRISTMILL_HISTORY={number}; the smallest history that fails:")?;
        write!(f, "{}", self.smallest)
    }
}

/// Spreads a number over all bits (the finalizer of splitmix64).
fn mix(number: u64) -> u64 {
    let n = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl Plan {
    /// What the environment asks for.
    pub fn from_environment() -> Self {
        let usual = if std::env::var_os("CI").is_some() { 10_000 } else { 1_000 };
        let seed = variable("GRISTMILL_SEED").unwrap_or_else(rand::random);
        let histories = variable("GRISTMILL_HISTORIES").unwrap_or(usual);
        let plan = Self { histories, seed, first: 0, threads: 2, shrink_runs: SHRINK_RUNS, blind: false };
        match variable("GRISTMILL_HISTORY") {
            Some(first) => Self { first, histories: 1, threads: 1, ..plan },
            None => plan,
        }
    }

    /// For scripts that must fail: few histories, no search for the smallest.
    pub fn for_mutants(histories: u64) -> Self {
        let seed = variable("GRISTMILL_SEED").unwrap_or(7);
        Self { histories, seed, first: 0, threads: 1, shrink_runs: 0, blind: false }
    }

    /// The same, with a search for the smallest.
    pub fn shrinking(self) -> Self {
        Self { shrink_runs: SHRINK_RUNS, ..self }
    }

    /// The same, deaf to what scripts answer.
    pub fn blind(self) -> Self {
        Self { blind: true, ..self }
    }

    /// Whether so many are played that everything must have been met.
    pub fn is_thorough(&self) -> bool {
        self.histories >= 5_000
    }

    /// Plays them all; stops at the first that breaks a promise.
    pub fn run(&self, edit: impl Fn(&Source) -> String + Sync) -> Result<Coverage, Box<Failure>> {
        let (next, failed) = (AtomicU64::new(self.first), AtomicBool::new(false));
        let play = || {
            let mut player = Player::new(clock::scripts(&edit));
            while !failed.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.first + self.histories {
                    break;
                }
                if let Err((why, smallest)) = self.play(&mut player, number) {
                    failed.store(true, Ordering::Relaxed);
                    return Err(Box::new(Failure { plan: *self, number, why, smallest }));
                }
            }
            Ok(player.coverage)
        };
        let mut coverage = Coverage::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(play)).collect();
            // A panic of the test itself goes on here.
            let done = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            done.collect::<Vec<_>>().into_iter().try_for_each(|done| done.map(|part| coverage.add(part)))
        })?;
        Ok(coverage)
    }

    fn play(&self, player: &mut Player, number: u64) -> Result<(), (String, History)> {
        // The generator is fast and of few bits: neighbouring numbers must not give it similar seeds.
        let mixed = mix(mix(self.seed).wrapping_add(number));
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&mixed.to_be_bytes());
        seed[8..].copy_from_slice(&mix(mixed).to_be_bytes());
        let config =
            Config { cases: 1, max_shrink_iters: self.shrink_runs, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::XorShift, &seed));
        let player = std::cell::RefCell::new(player);
        let played = runner.run(&Histories, |history| {
            let mut player = player.borrow_mut();
            let held = if self.blind { player.play_blindly(&history) } else { player.play(&history) };
            held.map_err(|Broken(why)| TestCaseError::fail(why))
        });
        match played {
            Ok(()) => Ok(()),
            Err(TestError::Fail(why, smallest)) => Err((why.to_string(), smallest)),
            Err(TestError::Abort(why)) => Err((why.to_string(), History { batches: Vec::new(), ops: Vec::new() })),
        }
    }
}

/// Plays one history with edited scripts.
pub fn play_one(edit: impl Fn(&Source) -> String, history: &History) -> Held {
    Player::new(clock::scripts(edit)).play(history)
}

/// A thread's own Redis, and what is needed to play on it.
struct Player {
    runtime: Runtime,
    conn: MultiplexedConnection,
    broker: Broker,
    clock: Clock,
    coverage: Coverage,
    _redis: EmbeddedRedis,
}

impl Player {
    fn new(scripts: Scripts) -> Self {
        let redis = EmbeddedRedis::start().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint: Endpoint = redis.url().parse().unwrap();
        let timeouts = Timeouts { response: Duration::from_secs(60), ..Timeouts::default() };
        let conn = runtime.block_on(connect(&endpoint, &timeouts)).unwrap();
        let broker = Broker::with_scripts(&Namespace::new("gm").unwrap(), scripts);
        Self { runtime, conn, broker, clock: Clock::new(), coverage: Coverage::default(), _redis: redis }
    }

    /// Plays on whatever the scripts answer, and looks at what Redis holds in the end.
    fn play_blindly(&mut self, history: &History) -> Held {
        let Self { runtime, conn, broker, clock, coverage, .. } = self;
        runtime.block_on(async {
            let mut world = World::new(conn.clone(), broker, clock, coverage, history).await?;
            for op in &history.ops {
                // The model is wrong from the first fault on; what follows is as good as any other call.
                let _ = world.play(op).await;
            }
            world.check_state().await.map(drop)
        })
    }

    fn play(&mut self, history: &History) -> Held {
        let Self { runtime, conn, broker, clock, coverage, .. } = self;
        runtime.block_on(async {
            let mut world = World::new(conn.clone(), broker, clock, coverage, history).await?;
            for (i, op) in history.ops.iter().enumerate() {
                world.play(op).await.map_err(|Broken(why)| Broken(format!("{why} (operation {})", i + 1)))?;
            }
            world.check().await.map_err(|Broken(why)| Broken(format!("{why} (after the operations)")))?;
            let (deaths, consumers) = (world.deaths, world.consumers());
            world.drain().await.map_err(|Broken(why)| Broken(format!("{why} (in the drain)")))?;
            world.check().await.map_err(|Broken(why)| Broken(format!("{why} (after the drain)")))?;
            world.outlive().await.map_err(|Broken(why)| Broken(format!("{why} (at the end of all lives)")))?;
            coverage.histories += 1;
            coverage.least("operations", history.ops.len() as u64);
            coverage.least("deaths", deaths);
            coverage.least("consumers", consumers);
            Ok(())
        })
    }
}
