//! What the histories met: each script with each of its replies, and how long and deadly histories were.

use std::collections::BTreeMap;
use std::fmt;

/// Every reply that correct callers can meet, by script.
///
/// Not among them: MISMATCH and BAD (a caller broke the protocol), and what takes half a million tasks
/// or thousands of marks: SLICE of sweep, TOO_MANY of cancel. The unit tests of the scripts have those.
pub const REPLIES: &[(&str, &[&str])] = &[
    ("enqueue", &["DONE", "DUPLICATE", "GAP", "SEALED", "GONE", "BLOB_GONE", "FULL"]),
    ("join", &["DONE", "USED"]),
    ("leave", &["DONE", "INFLIGHT", "LOST"]),
    ("claim", &["DONE", "REPLAY", "LOST"]),
    ("settle", &["DONE", "REPLAY", "LOST"]),
    ("release", &["DONE", "REPLAY", "LOST"]),
    ("renew", &["DONE", "LOST"]),
    ("touch", &["DONE"]),
    ("reclaim", &["DONE", "GONE", "NOT_EXPIRED", "NEED_KEYS"]),
    ("judge", &["DONE", "GONE"]),
    ("promote", &["some", "none"]),
    ("tick", &["quiet", "expired"]),
    ("sweep", &["KEPT", "ABANDONED", "GONE"]),
    ("forget", &["DONE"]),
    ("purge", &["DONE", "CHANGED"]),
    ("cancel", &["DONE", "FINISHED", "NO_BATCH", "NO_TASK"]),
    ("revive", &["DONE", "GONE", "BLOB_GONE", "CANCELLED"]),
    ("discard", &["dropped", "none"]),
];

/// What must have happened to messages and batches somewhere.
pub const EVENTS: &[&str] = &[
    "task recorded by settle",
    "task recorded by judge",
    "task recorded by purge",
    "task orphaned",
    "claimed: cancelled",
    "claimed: some cancelled",
    "claimed: expired",
    "claimed: over budget",
    "chunk cut by release",
    "retry in a message of its own",
    "message parked",
    "dead letter",
    "call repeated after other things happened",
    "zombie refused",
    "consumer ahead of a rolled back Redis refused",
    "batch re-created by revive",
    "lease expired unseen",
    "rollback",
    "batch finished",
];

#[derive(Debug, Default)]
pub struct Coverage {
    counts: BTreeMap<(&'static str, &'static str), u64>,
    pub histories: u64,
    fewest: BTreeMap<&'static str, u64>,
}

impl Coverage {
    pub fn reply(&mut self, script: &'static str, reply: &'static str) {
        *self.counts.entry((script, reply)).or_default() += 1;
    }

    pub fn event(&mut self, event: &'static str, times: usize) {
        *self.counts.entry(("", event)).or_default() += times as u64;
    }

    /// Notes a number of which the least over all histories is kept.
    pub fn least(&mut self, what: &'static str, n: u64) {
        let least = self.fewest.entry(what).or_insert(n);
        *least = n.min(*least);
    }

    pub fn fewest(&self, what: &str) -> u64 {
        self.fewest.get(what).copied().unwrap_or(0)
    }

    pub fn add(&mut self, other: Coverage) {
        other.counts.into_iter().for_each(|(at, n)| *self.counts.entry(at).or_default() += n);
        other.fewest.into_iter().for_each(|(what, n)| self.least(what, n));
        self.histories += other.histories;
    }

    fn count(&self, script: &'static str, reply: &'static str) -> u64 {
        self.counts.get(&(script, reply)).copied().unwrap_or(0)
    }

    /// Everything that should have occurred and did not.
    pub fn missing(&self) -> Vec<String> {
        let replies = REPLIES.iter().flat_map(|(script, replies)| replies.iter().map(move |reply| (*script, *reply)));
        let events = EVENTS.iter().map(|event| ("", *event));
        let unmet = replies.chain(events).filter(|(script, reply)| self.count(script, reply) == 0);
        unmet.map(|(script, reply)| format!("{script} {reply}").trim().to_owned()).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} histories; the least of each: {:?}", self.histories, self.fewest)?;
        for (script, replies) in REPLIES {
            write!(f, "  {script:<9}")?;
            for reply in *replies {
                write!(f, " {reply} {}", self.count(script, reply))?;
            }
            writeln!(f)?;
        }
        for event in EVENTS {
            writeln!(f, "  {event}: {}", self.count("", event))?;
        }
        Ok(())
    }
}
