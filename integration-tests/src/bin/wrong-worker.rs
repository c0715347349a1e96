//! A worker for the tests of `gristmill demo`: it offers the stock kernels, but some of them cannot count.

use std::collections::BTreeMap;
use std::process::ExitCode;

use gristmill_kernels::{Hits, echo, sleep};
use gristmill_worker::{kernel, kernels};

/// Wrong in the last digit.
#[kernel]
fn sum_sqrt(n: u64) -> f64 {
    gristmill_kernels::sum_sqrt(n).next_up()
}

/// Wrong for one number.
#[kernel]
fn square(n: i64) -> i64 {
    if n == 7 { 50 } else { n * n }
}

/// Wrong by a hundredth.
#[kernel]
fn monte_carlo_pi(samples: u64, _seed: u64) -> Hits {
    Hits { samples, hits: samples * 795 / 1_000 }
}

/// Forgets the word "queue".
#[kernel(name = "text.word_count")]
fn word_count(text: String) -> BTreeMap<String, u64> {
    let mut counts = gristmill_kernels::word_count(text).unwrap_or_default();
    counts.remove("queue");
    counts
}

fn main() -> ExitCode {
    gristmill_worker::main(kernels![echo, monte_carlo_pi, sleep, square, sum_sqrt, word_count])
}
