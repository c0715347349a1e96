//! The hash of a batch, as far as fsck needs it.

use std::collections::BTreeMap;

use gristmill_shared::{BatchId, Keys, OutcomeKind};
use redis::{Pipeline, Value, from_redis_value};

use super::snapshot::shape;
use crate::error::BrokerError;

const FIELDS: [&str; 14] = [
    "state",
    "single",
    "tasks",
    "total",
    "recreated",
    "revived_at_ms",
    "swept",
    "touched_at_ms",
    "last_expiry_ms",
    "finished_at_ms",
    "result_ttl_ms",
    "queue",
    "result_bytes",
    "shared_parts",
];

/// A batch at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Row {
    fields: BTreeMap<&'static str, String>,
    /// Runs that were listed.
    pub(super) runs: u64,
    pub(super) has_outcome: bool,
}

impl Row {
    pub(super) fn ask(pipe: &mut Pipeline, keys: &Keys, id: BatchId) {
        let key = keys.batch(id);
        pipe.cmd("HMGET").arg(&key).arg(&FIELDS).arg(&OutcomeKind::ALL.map(OutcomeKind::as_str));
        pipe.cmd("HEXISTS").arg(&key).arg("outcome").cmd("LLEN").arg(keys.runs(id));
    }

    pub(super) fn read(answers: &mut impl Iterator<Item = Value>) -> Result<Self, BrokerError> {
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let values: Vec<Option<Vec<u8>>> = from_redis_value(next()).map_err(shape)?;
        let names = FIELDS.into_iter().chain(OutcomeKind::ALL.map(OutcomeKind::as_str));
        let text = |value: Option<Vec<u8>>| Some(String::from_utf8_lossy(&value?).into_owned());
        let fields = names.zip(values).filter_map(|(name, value)| Some((name, text(value)?))).collect();
        let has_outcome = from_redis_value(next()).map_err(shape)?;
        Ok(Self { fields, runs: from_redis_value(next()).map_err(shape)?, has_outcome })
    }

    /// Whether there is a hash.
    pub(super) fn is_there(&self) -> bool {
        !self.fields.is_empty()
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A number; absent is none, and what is no number is an error: its name.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u64>, &'static str> {
        self.fields.get(name).map(|text| text.parse().map_err(|_| name)).transpose()
    }

    pub(super) fn count(&self, kind: OutcomeKind) -> Result<u64, &'static str> {
        Ok(self.number(kind.as_str())?.unwrap_or(0))
    }

    /// Tasks that have an outcome.
    pub(super) fn ended(&self) -> Result<u64, &'static str> {
        OutcomeKind::ALL.into_iter().map(|kind| self.count(kind)).sum()
    }

    pub(super) fn is_single(&self) -> bool {
        self.text("single") == "1"
    }

    /// It may be less, or more, than what its members give: revive took outcomes back, or sweep is deleting it.
    pub(super) fn is_special(&self) -> bool {
        self.has("revived_at_ms") || self.has("recreated") || self.has("swept")
    }
}
