//! How long Redis takes to answer.

use std::time::{Duration, Instant};

use redis::Value;

use super::exam::Exam;
use crate::exit::Exit;

const PINGS: usize = 100;
/// The hundredth-slowest answer of a healthy server in the same data centre is far below.
const SLOW: Duration = Duration::from_millis(20);
/// A script that keeps Redis so long keeps everybody waiting.
const SLOW_SCRIPT: Duration = Duration::from_millis(50);

pub async fn check_pings(exam: &mut Exam<'_>) -> Result<(), Exit> {
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let begun = Instant::now();
        if exam.ask::<String>(&mut redis::cmd("PING")).await?.is_none() {
            exam.unknown("latency", "PING is not allowed");
            return Ok(());
        }
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let (half, slowest) = (times[PINGS / 2], times[PINGS * 99 / 100]);
    let ms = |time: Duration| format!("{:.2}ms", time.as_secs_f64() * 1000.0);
    let found = format!("{PINGS} pings: p50 {}, p99 {}", ms(half), ms(slowest));
    if slowest < SLOW {
        exam.ok("latency", found);
    } else {
        let advice = "look for a busy machine or slow commands (SLOWLOG GET), or move closer to Redis";
        exam.warning("latency", found, advice);
    }
    Ok(())
}

/// Redis itself notes what took longer than `slowlog-log-slower-than`.
pub async fn check_slow_scripts(exam: &mut Exam<'_>) -> Result<(), Exit> {
    let Some(entries) = exam.ask::<Vec<Vec<Value>>>(redis::cmd("SLOWLOG").arg("GET").arg(128)).await? else {
        exam.unknown("slow scripts", "its slow log");
        return Ok(());
    };
    let prefix = exam.broker.keys().prefix();
    let is_ours = |words: &[String]| {
        words.first().is_some_and(|name| name.eq_ignore_ascii_case("EVALSHA"))
            && words.iter().any(|word| word.starts_with(prefix))
    };
    let slow = entries.iter().filter_map(|entry| {
        let micros: u64 = redis::from_redis_value(entry.get(2)?.clone()).ok()?;
        let words: Vec<String> = redis::from_redis_value(entry.get(3)?.clone()).ok()?;
        is_ours(&words).then_some(Duration::from_micros(micros))
    });
    let slow: Vec<_> = slow.collect();
    let longest = slow.iter().max().copied().unwrap_or_default();
    let found = format!("{} in the slow log, the longest took {} ms", slow.len(), longest.as_millis());
    match slow.len() {
        0 => exam.ok("slow scripts", "none in the slow log"),
        _ if longest < SLOW_SCRIPT => exam.ok("slow scripts", found),
        _ => exam.warning("slow scripts", found, "look at SLOWLOG GET, and whether the machine of Redis is busy"),
    }
    Ok(())
}
