//! `gristmill queues --watch`: the table again and again, with rates.

use std::collections::{BTreeMap, VecDeque};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gristmill::{Client, OutcomeKind, QueueName, QueueStats};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{COLUMNS, NONE, described};
use crate::args::Queues;
use crate::exit::Exit;
use crate::say;
use crate::table::Table;
use crate::times::{rfc3339, short};

/// Rates are taken over so many looks: one alone jumps about.
const LOOKS: usize = 10;
/// A shorter interval would ask Redis without a pause.
const SHORTEST: Duration = Duration::from_millis(50);

/// Looks until a signal ends it.
pub async fn run(client: &Client, args: &Queues) -> Result<(), Exit> {
    let mut ticks = interval(args.interval.max(SHORTEST));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut meters: BTreeMap<QueueName, Meter> = BTreeMap::new();
    let mut screen = Screen::new(args.json);
    loop {
        ticks.tick().await;
        let queues = client.queues().await?;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let columns = [&COLUMNS[..], &[("IN/S", "in"), ("OUT/S", "out"), ("EMPTY IN", "empty")]].concat();
        let mut table = Table::new(&columns);
        for queue in queues {
            let waiting = queue.ready_tasks + queue.running_tasks;
            let meter = meters.entry(queue.name.clone()).or_default();
            meter.look(Instant::now(), &queue);
            let rates = meter.rates();
            let eta = rates.and_then(|rates| rates.until_empty(waiting));
            let mut row = described(queue);
            row.insert("at".into(), rfc3339(at).into());
            row.insert("enqueued_per_second".into(), rates.map(|rates| round(rates.enqueued)).into());
            row.insert("ended_per_second".into(), rates.map(|rates| round(rates.ended)).into());
            row.insert("empty_in_ms".into(), eta.map(|eta| eta.as_millis() as u64).into());
            // For people.
            if !args.json {
                row.insert("in".into(), rates.map(|rates| text(rates.enqueued)).into());
                row.insert("out".into(), rates.map(|rates| text(rates.ended)).into());
                row.insert("empty".into(), eta.map(short).into());
            }
            table.row(row);
        }
        screen.show(&table)?;
    }
}

/// Tasks per second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rates {
    enqueued: f64,
    ended: f64,
}

impl Rates {
    /// How long it takes until nothing waits or runs if all goes on like this; none: it never will.
    fn until_empty(self, waiting: u64) -> Option<Duration> {
        if waiting == 0 {
            return Some(Duration::ZERO);
        }
        let net = self.ended - self.enqueued;
        if net <= 0.0 { None } else { Duration::try_from_secs_f64(waiting as f64 / net).ok() }
    }
}

/// What was seen of one queue lately.
#[derive(Debug, Default)]
struct Meter {
    /// When; tasks enqueued and ended since the queue exists.
    looks: VecDeque<(Instant, u64, u64)>,
}

impl Meter {
    fn look(&mut self, now: Instant, queue: &QueueStats) {
        let total = |name: &str| queue.totals.get(name).copied().unwrap_or(0);
        let ended = OutcomeKind::ALL.iter().map(|kind| total(kind.as_str())).sum();
        self.see(now, total("enqueued"), ended);
    }

    fn see(&mut self, now: Instant, enqueued: u64, ended: u64) {
        // Redis came back with an older state: what was seen before says nothing about now.
        if self.looks.back().is_some_and(|&(_, before, ended_before)| enqueued < before || ended < ended_before) {
            self.looks.clear();
        }
        self.looks.push_back((now, enqueued, ended));
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
    }

    /// None before the second look.
    fn rates(&self) -> Option<Rates> {
        let (&(from, enqueued_from, ended_from), &(to, enqueued, ended)) = (self.looks.front()?, self.looks.back()?);
        let seconds = to.duration_since(from).as_secs_f64();
        (seconds > 0.0).then(|| Rates {
            enqueued: (enqueued - enqueued_from) as f64 / seconds,
            ended: (ended - ended_from) as f64 / seconds,
        })
    }
}

fn round(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

fn text(rate: f64) -> String {
    if rate >= 10.0 || rate == 0.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

/// Where the tables go.
struct Screen {
    json: bool,
    /// Whether each table takes the place of the last.
    terminal: bool,
    lines: usize,
}

impl Screen {
    fn new(json: bool) -> Self {
        Self { json, terminal: std::io::stdout().is_terminal(), lines: 0 }
    }

    fn show(&mut self, table: &Table) -> Result<(), Exit> {
        let mut text = String::new();
        if self.json {
            for row in table.rows() {
                text += &format!("{}\n", Value::Object(row.clone()));
            }
        } else if table.rows().is_empty() {
            if !self.terminal {
                say!("{NONE}");
                return Ok(());
            }
            text = format!("{NONE}\n");
        } else {
            text = table.text();
            // Blocks of lines are told apart by empty ones.
            if !self.terminal && self.lines > 0 {
                text.insert(0, '\n');
            }
        }
        let mut out = std::io::stdout().lock();
        if self.terminal && !self.json && self.lines > 0 {
            // Up to where the last table began, and clear from there.
            write!(out, "\x1b[{}A\r\x1b[J", self.lines)?;
        }
        self.lines = text.lines().count();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_the_time_until_empty() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        meter.see(start, 1_000, 0);
        assert_eq!(meter.rates(), None);
        meter.see(start + Duration::from_secs(2), 1_020, 220);
        let rates = meter.rates().unwrap();
        assert_eq!(rates, Rates { enqueued: 10.0, ended: 110.0 });
        assert_eq!(rates.until_empty(800), Some(Duration::from_secs(8)));
        assert_eq!(rates.until_empty(0), Some(Duration::ZERO));
        assert_eq!(Rates { enqueued: 5.0, ended: 5.0 }.until_empty(1), None);
    }

    #[test]
    fn old_looks_are_forgotten_and_a_rollback_starts_anew() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        for second in 0..100 {
            meter.see(start + Duration::from_secs(second), 0, if second < 80 { 0 } else { (second - 80) * 7 });
        }
        assert_eq!(meter.rates().unwrap().ended, 7.0);
        meter.see(start + Duration::from_secs(100), 0, 3);
        assert_eq!(meter.rates(), None);
    }
}
