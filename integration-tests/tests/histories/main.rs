//! Random histories against a real Redis: whatever consumers, producers, agents and machines do, every task
//! ends once, counters equal a recount, and no key is left without an owner.
//!
//! `GRISTMILL_HISTORIES` says how many (in CI 10,000, else 1,000), `GRISTMILL_SEED` with which seed; a
//! failing run prints its seed, the number of the history, and the smallest history that still fails.
//! `GRISTMILL_HISTORY` plays only the history of that number.

mod agents;
mod clock;
mod consumers;
mod coverage;
mod drain;
mod dump;
mod endings;
mod model;
mod mutations;
mod ops;
mod producers;
mod recount;
mod runs;
mod state;
mod strategy;
mod world;

use std::io::Write;

use crate::runs::Plan;

#[test]
fn histories_keep_every_promise() {
    let plan = Plan::from_environment();
    say(&format!("{} histories with GRISTMILL_SEED={}", plan.histories, plan.seed));
    let begun = std::time::Instant::now();
    let coverage = plan.run(|source| source.text()).unwrap_or_else(|failure| panic!("{failure}"));
    let per_second = coverage.histories as f64 / begun.elapsed().as_secs_f64();
    say(&format!("{coverage}{per_second:.0} histories/s"));
    if plan.is_thorough() {
        let missing = coverage.missing();
        assert!(missing.is_empty(), "never met: {missing:?}");
        assert!(coverage.fewest("operations") >= 50 && coverage.fewest("deaths") >= 1);
        assert!(coverage.fewest("consumers") >= 3);
    }
}

/// Past the capture of the test harness: the seed and the coverage are told in every run.
fn say(text: &str) {
    // Nobody may listen.
    let _ = writeln!(std::io::stderr(), "{text}");
}
