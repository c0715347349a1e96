//! What came of a map, in one line or one object.

use std::time::Duration;

use gristmill::{OutcomeKind, Summary};
use serde_json::{Map, Value, json};

use crate::args::SummaryForm;
use crate::counted::counted;
use crate::say;
use crate::times::short;

/// Says it on stderr.
pub fn say(summary: &Summary, form: SummaryForm) {
    match form {
        SummaryForm::Text => say!("gristmill: {}", text(summary)),
        SummaryForm::Json => say!("{}", Value::Object(object(summary))),
    }
}

fn text(summary: &Summary) -> String {
    let (tasks, wall) = (summary.ended(), short(summary.wall()));
    let mut text = format!("{} in {wall}, {}/s:", counted(tasks, "task"), rate(summary.rate()));
    let counts = OutcomeKind::ALL.iter().filter(|kind| summary.count(**kind) > 0);
    let counts: Vec<_> = counts.map(|kind| format!(" {} {}", summary.count(*kind), word(*kind))).collect();
    text += &if counts.is_empty() { " nothing to do".to_owned() } else { counts.join(",") };
    if let (Some(p50), Some(p99), Some(speed_up)) =
        (summary.percentile(0.5), summary.percentile(0.99), summary.speed_up())
    {
        text += &format!(
            "; a task took {} (median), {} (p99); one after the other {}: speed-up {speed_up:.1}",
            fine(p50),
            fine(p99),
            fine(summary.serial()),
        );
    }
    text
}

fn object(summary: &Summary) -> Map<String, Value> {
    let ms = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    let mut object = Map::new();
    object.insert("tasks".into(), summary.ended().into());
    for kind in OutcomeKind::ALL {
        object.insert(kind.to_string(), summary.count(kind).into());
    }
    object.insert("wall_ms".into(), json!(summary.wall().as_millis() as u64));
    object.insert("tasks_per_second".into(), json!((summary.rate() * 100.0).round() / 100.0));
    object.insert("task_p50_ms".into(), json!(summary.percentile(0.5).map(ms)));
    object.insert("task_p99_ms".into(), json!(summary.percentile(0.99).map(ms)));
    object.insert("serial_ms".into(), json!(ms(summary.serial())));
    object.insert("speed_up".into(), json!(summary.speed_up().map(four_digits)));
    object
}

/// Tiny tasks may take far longer through a queue than one after the other: a fixed number of places would
/// leave nothing of the factor.
fn four_digits(factor: f64) -> f64 {
    format!("{factor:.3e}").parse().unwrap_or(factor)
}

fn word(kind: OutcomeKind) -> String {
    kind.to_string().replace('_', " ")
}

fn rate(rate: f64) -> String {
    if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

/// Tasks may be much shorter than the map.
fn fine(duration: Duration) -> String {
    match duration.as_micros() {
        0..1_000 => format!("{}µs", duration.as_micros()),
        1_000..1_000_000 => format!("{:.1}ms", duration.as_secs_f64() * 1e3),
        _ => short(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_factor_keeps_its_digits() {
        let cases = [(0.000_123_456, 0.000_123_5), (1.987_65, 1.988), (123.456, 123.5), (0.0, 0.0)];
        for (factor, digits) in cases {
            assert_eq!(four_digits(factor), digits);
        }
    }
}
