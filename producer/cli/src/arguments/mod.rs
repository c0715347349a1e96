//! ArgumentCheck are compared with what the kernel takes, before anything is submitted.
//!
//! What the worker would accept is never refused: its decoder, not JSON Schema, says what fits. So a record may
//! be an array of its fields, a text may be bytes, unknown fields are fine unless the kernel denies them, and
//! `1.0` is no integer. What a schema says beyond that, such as a range or a pattern, its author meant.

mod check;
mod compile;
mod misfit;
mod numbers;
#[cfg(test)]
mod tests;

use gristmill::KernelRecord;
use gristmill::shared::KernelName;
use serde_json::{Map, Value};

use self::check::Check;
use self::compile::{Rest, Rules};
use self::misfit::nearest;
pub use self::numbers::Range;
use crate::json::{self, JsonError};
use crate::say;

/// A larger description of a kernel is not looked into.
const INFO_MAX: usize = 1 << 20;

/// Why a text does not become the arguments of a task.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    /// It is no value that can be sent.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The kernel does not take it.
    #[error("{0}")]
    Misfit(String),
}

/// What a kernel takes, as far as that is known.
pub struct ArgumentCheck {
    kernel: String,
    rules: Option<Rules>,
    /// The names of several parameters.
    parameters: Vec<String>,
    /// Whether anything is refused.
    enabled: bool,
}

impl ArgumentCheck {
    /// Anything: nobody said what the kernel takes.
    pub fn unchecked(kernel: &KernelName) -> Self {
        Self { kernel: kernel.to_string(), rules: None, parameters: Vec::new(), enabled: false }
    }

    /// What the worker says that published the kernel last. What cannot be understood is not checked, with a
    /// warning.
    pub fn of(record: &KernelRecord, enabled: bool) -> Self {
        let known = published(&record.info).and_then(|schema| Self::new(&record.name, schema));
        match known {
            Ok(known) => Self { enabled, ..known },
            Err(problem) => {
                if enabled {
                    say!("gristmill: warning: the arguments of {} are not checked: {problem}", record.name);
                }
                Self::unchecked(&record.name)
            }
        }
    }

    #[cfg(test)]
    pub fn by_schema(schema: &Value) -> Self {
        Self::new(&KernelName::new("k").unwrap(), schema.clone()).unwrap()
    }

    fn new(kernel: &KernelName, schema: Value) -> Result<Self, String> {
        if schema.is_null() {
            return Ok(Self::unchecked(kernel));
        }
        let parameters = parameters(&schema);
        Ok(Self { kernel: kernel.to_string(), rules: Some(Rules::compile(schema)?), parameters, enabled: true })
    }

    /// Reads one JSON text, checks it, and packs it as MessagePack.
    pub fn read(&self, text: &str) -> Result<Vec<u8>, ArgumentError> {
        self.pack(json::parse(text)?)
    }

    /// Checks one value and packs it as MessagePack. An object that names each of several parameters stands for
    /// the array of them.
    pub fn pack(&self, value: Value) -> Result<Vec<u8>, ArgumentError> {
        let (value, named) = match value {
            Value::Object(fields) if self.takes_names(&fields) => (self.in_order(fields), true),
            value => (value, false),
        };
        let packed = json::pack(&value)?;
        if let Some(rules) = &self.rules
            && self.enabled
            && let Err(misfit) = Check::new(rules).whole(&value)
        {
            let text = misfit.text(&self.parameters, named);
            return Err(ArgumentError::Misfit(format!("the arguments do not fit {}: {text}", self.kernel)));
        }
        Ok(packed)
    }

    /// The schema of the arguments; null if it is not known.
    pub fn schema(&self) -> &Value {
        self.rules.as_ref().map_or(&Value::Null, |rules| &rules.schema)
    }

    /// A field that the kernel would ignore, although another was probably meant.
    pub fn doubt(&self, value: &Value) -> Option<String> {
        let (rules, fields) = (self.rules.as_ref().filter(|_| self.enabled)?, value.as_object()?);
        let root = &rules.nodes[0];
        let node = if root.record.is_none() { rules.nodes.get(*root.all.first()?)? } else { root };
        let record = node.record.as_ref().filter(|record| record.rest == Rest::Any && !record.is_bytes)?;
        let absent: Vec<String> = record.names.iter().filter(|name| !fields.contains_key(*name)).cloned().collect();
        let unknown = fields.keys().filter(|name| !record.fields.contains_key(*name));
        let (name, near) = unknown.filter_map(|name| Some((name, nearest(name, &absent)?))).next()?;
        Some(format!("{} has no field {name:?} and ignores it; did you mean {near:?}?", self.kernel))
    }

    fn takes_names(&self, fields: &Map<String, Value>) -> bool {
        !fields.is_empty() && !self.parameters.is_empty() && fields.keys().all(|name| self.parameters.contains(name))
    }

    /// What is not named is null, which fits an optional parameter only.
    fn in_order(&self, mut fields: Map<String, Value>) -> Value {
        self.parameters.iter().map(|name| fields.remove(name).unwrap_or_default()).collect()
    }
}

/// The schema in the description of a kernel.
pub fn published(info: &str) -> Result<Value, String> {
    if info.len() > INFO_MAX {
        return Err(format!("what its worker says of it is longer than {INFO_MAX} bytes"));
    }
    // A worker in another language may say nothing.
    let mut info: Value = serde_json::from_str(info).unwrap_or_default();
    Ok(info.get_mut("args_schema").map(Value::take).unwrap_or_default())
}

/// The titles of a tuple's elements, if each has one of its own.
fn parameters(schema: &Value) -> Vec<String> {
    let items = schema.get("prefixItems").and_then(Value::as_array);
    let title = |item: &Value| Some(item.get("title")?.as_str()?.to_owned());
    let names: Option<Vec<String>> = items.and_then(|items| items.iter().map(title).collect());
    let names = names.unwrap_or_default();
    let twice = names.iter().enumerate().any(|(place, name)| names[..place].contains(name));
    if twice { Vec::new() } else { names }
}
