//! How much work the demo does.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Sizes of the batches.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Tasks that estimate π.
    pub pi_tasks: u64,
    /// Random points of each.
    pub pi_samples: u64,
    /// Time that the queue takes to drain, roughly.
    pub drain: Duration,
    /// Work for which one consumer and all of them are timed, in time of one core.
    pub speed: Duration,
    /// Tasks per consumer of the batch in which one is killed.
    pub kill_tasks: u64,
    /// How long each of them takes.
    pub kill_task: Duration,
    /// How many square roots a core adds up in a second.
    roots_per_second: f64,
}

impl Scale {
    /// Measures this machine for a moment, and chooses sizes.
    pub fn measure(quick: bool) -> Self {
        let roots_per_second = measure();
        let ms = Duration::from_millis;
        if quick {
            return Self {
                pi_tasks: 2_000,
                pi_samples: 1_000,
                drain: ms(400),
                speed: ms(600),
                kill_tasks: 7,
                kill_task: ms(80),
                roots_per_second,
            };
        }
        Self {
            pi_tasks: 20_000,
            pi_samples: 100_000,
            drain: ms(2_500),
            speed: ms(3_000),
            kill_tasks: 20,
            kill_task: ms(100),
            roots_per_second,
        }
    }

    /// The argument with which `sum_sqrt` takes about this long.
    pub fn roots(&self, time: Duration) -> u64 {
        ((self.roots_per_second * time.as_secs_f64()) as u64).max(1_000)
    }
}

/// The best of a few short tries, since others may use this core, too.
fn measure() -> f64 {
    const N: u64 = 300_000;
    let time = |_| {
        let start = Instant::now();
        black_box(super::sums::sum_of_roots(black_box(N)));
        start.elapsed().as_secs_f64().max(1e-9)
    };
    N as f64 / (0..5).map(time).fold(f64::INFINITY, f64::min)
}
