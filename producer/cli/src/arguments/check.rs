//! Compares a value with the rules of a schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::compile::{Choices, Kind, List, Node, Record, Rest, Rules};
use super::misfit::{Misfit, Step};
use super::numbers::Bound;
use crate::json::{BYTES, FLOAT};

/// Steps that any check may take, and so many more for each part of its value. A schema that takes more was made
/// to; what is left is not checked then.
const STEPS: u64 = 100_000;
const STEPS_PER_PART: u64 = 1_000;
/// What is nested deeper, in the value or in the schema, is not checked.
const DEPTH_MAX: u32 = 256;

/// Nothing is said of a misfit until somebody asks: most values fit, and an alternative may fail for free.
type Checked = Result<(), Option<Box<Misfit>>>;

/// The check of one value.
pub struct Check<'a> {
    rules: &'a Rules,
    explain: bool,
    steps: u64,
    steps_max: u64,
    depth: u32,
}

impl<'a> Check<'a> {
    pub fn new(rules: &'a Rules) -> Self {
        Self { rules, explain: false, steps: 0, steps_max: STEPS, depth: 0 }
    }

    /// Checks a whole value, and says where it does not fit.
    pub fn whole(mut self, value: &Value) -> Result<(), Box<Misfit>> {
        if self.run(value).is_ok() {
            return Ok(());
        }
        self.explain = true;
        match self.run(value) {
            Err(Some(misfit)) => Err(misfit),
            // out of steps
            _ => Ok(()),
        }
    }

    fn run(&mut self, value: &Value) -> Checked {
        self.steps = 0;
        let checked = self.node(0, value);
        if checked.is_err() && self.steps > STEPS {
            self.steps = 0;
            self.steps_max = STEPS + STEPS_PER_PART * parts(value);
            return self.node(0, value);
        }
        checked
    }

    fn node(&mut self, id: usize, value: &Value) -> Checked {
        self.steps += 1;
        if self.steps > self.steps_max || self.depth > DEPTH_MAX {
            return Ok(());
        }
        self.depth += 1;
        let checked = self.rule(&self.rules.nodes[id], value);
        self.depth -= 1;
        checked
    }

    fn rule(&mut self, node: &'a Node, value: &Value) -> Checked {
        if !self.kind(node, value)? && !self.other_form(node, value) {
            return self.misfit(node, value, Misfit::kind);
        }
        for part in &node.all {
            self.node(*part, value)?;
        }
        self.any(node, value)
    }

    fn any(&mut self, node: &'a Node, value: &Value) -> Checked {
        if node.any.is_empty() {
            return Ok(());
        }
        let mut misfits = Vec::new();
        for branch in &node.any {
            match self.node(*branch, value) {
                Ok(()) => return Ok(()),
                Err(misfit) => misfits.extend(misfit.map(|misfit| *misfit)),
            }
        }
        let rules = self.rules;
        self.misfit(node, value, |rules_node, given| {
            let branches = rules_node.any.iter().map(|branch| &rules.nodes[*branch]);
            Misfit::of_alternatives(misfits, branches, given)
        })
    }

    /// `false`: the node allows no value of this kind.
    fn kind(&mut self, node: &'a Node, value: &Value) -> Result<bool, Option<Box<Misfit>>> {
        let allows = |kind: Kind| node.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
        match value {
            // An enum of some type or null does not always name null among its values.
            Value::Null => return Ok(allows(Kind::Null)),
            Value::Bool(_) if !allows(Kind::Bool) => return Ok(false),
            Value::Number(number) => {
                let number = Bound::of(number);
                let is_allowed = match number {
                    Bound::Whole(_) => allows(Kind::Integer) || allows(Kind::Number),
                    Bound::Float(_) => allows(Kind::Number),
                };
                if !is_allowed {
                    return Ok(false);
                }
                if !node.range.holds(number) {
                    return self.misfit(node, value, Misfit::value).map(|()| true);
                }
            }
            Value::String(text) => {
                if !allows(Kind::Text) {
                    return Ok(false);
                }
                self.text(node, value, text)?;
            }
            Value::Array(items) => {
                if !allows(Kind::List) {
                    return Ok(false);
                }
                self.list(node, value, items)?;
            }
            Value::Object(fields) => {
                if tagged(fields, FLOAT).is_some() {
                    return Ok(allows(Kind::Number));
                }
                if tagged(fields, BYTES).is_some() {
                    return Ok(node.record.as_ref().is_some_and(|record| record.is_bytes) || node.kinds.is_none());
                }
                if !allows(Kind::Record) {
                    return Ok(false);
                }
                if let Some(record) = &node.record {
                    self.record(node, record, value, fields)?;
                }
            }
            Value::Bool(_) => {}
        }
        match &node.choices {
            Some(choices) if !choices.hold(value) => Ok(false),
            _ => Ok(true),
        }
    }

    /// Whether the decoder takes the value although JSON Schema says that it is of the wrong kind.
    fn other_form(&mut self, node: &'a Node, value: &Value) -> bool {
        let allows = |kind: Kind| node.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
        let is_bytes = node.record.as_ref().is_some_and(|record| record.is_bytes);
        match value {
            // A variant may be written as its place.
            Value::Number(number) => number
                .as_u64()
                .is_some_and(|place| node.choices.as_ref().is_some_and(|choices| place < choices.variants())),
            Value::String(_) => allows(Kind::List) && node.list.of_bytes || is_bytes,
            Value::Array(items) => match &node.record {
                Some(record) if record.is_bytes => items.iter().all(is_byte),
                Some(record) if allows(Kind::Record) && record.takes_list(items.len()) => self.fields(record, items),
                // a struct without fields
                _ if items.is_empty() && node.kinds.as_deref() == Some(&[Kind::Null]) => true,
                _ => allows(Kind::Text) && node.text.formatted,
            },
            Value::Object(fields) => {
                if let Some(text) = tagged(fields, BYTES) {
                    return self.bytes(node, text);
                }
                let is_variant = node.choices.as_ref().is_some_and(|choices| choices.names_variant(fields));
                is_variant || allows(Kind::Text) && node.text.formatted
            }
            _ => false,
        }
    }

    /// Whether each item fits some field. A schema does not always keep the order of the fields.
    fn fields(&mut self, record: &'a Record, items: &[Value]) -> bool {
        let explain = std::mem::replace(&mut self.explain, false);
        let fits = items.iter().all(|item| record.fields.values().any(|rule| self.node(*rule, item).is_ok()));
        self.explain = explain;
        fits
    }

    /// Bytes are an array of integers, and a text if they are UTF-8.
    fn bytes(&mut self, node: &'a Node, text: &str) -> bool {
        let allows = |kind: Kind| node.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
        // What is not base64 is told by whoever packs it.
        let Ok(bytes) = STANDARD.decode(text) else { return true };
        if allows(Kind::Text) {
            return match (std::str::from_utf8(&bytes), &node.choices) {
                (Ok(text), Some(choices)) => choices.names.iter().any(|name| name == text),
                // a single character is none
                (Ok(_), None) => node.text.max != Some(1),
                (Err(_), _) => node.text.formatted,
            };
        }
        if !allows(Kind::List) {
            let fits = |record: &Record| record.is_bytes || record.takes_list(bytes.len().min(record.names.len()));
            return allows(Kind::Record) && node.record.as_ref().is_some_and(fits);
        }
        let explain = std::mem::replace(&mut self.explain, false);
        let list = &node.list;
        // The decoder does not mind if there are more than it wants.
        let fits = list.min.is_none_or(|min| bytes.len() as u64 >= min)
            && bytes.iter().enumerate().all(|(place, byte)| {
                let rule = list.prefix.get(place).copied().or(list.items);
                rule.is_none_or(|rule| self.node(rule, &Value::from(*byte)).is_ok())
            });
        self.explain = explain;
        fits
    }

    fn text(&mut self, node: &'a Node, value: &Value, text: &str) -> Checked {
        let rule = &node.text;
        if rule.min.is_some() || rule.max.is_some() {
            let length = text.chars().count() as u64;
            if rule.min.is_some_and(|min| length < min) || rule.max.is_some_and(|max| length > max) {
                return self.misfit(node, value, Misfit::length);
            }
        }
        match &rule.pattern {
            Some(pattern) if !pattern.is_valid(value) => self.misfit(node, value, Misfit::pattern),
            _ => Ok(()),
        }
    }

    fn list(&mut self, node: &'a Node, value: &Value, items: &[Value]) -> Checked {
        let rule = &node.list;
        if !rule.holds(items.len()) {
            return self.misfit(node, value, Misfit::count);
        }
        for (place, item) in items.iter().enumerate() {
            if let Some(rule) = rule.prefix.get(place).copied().or(rule.items) {
                self.node(rule, item).map_err(|misfit| beneath(misfit, Step::Item(place)))?;
            }
        }
        Ok(())
    }

    fn record(&mut self, node: &'a Node, record: &'a Record, value: &Value, fields: &Map<String, Value>) -> Checked {
        for (name, field) in fields {
            let rule = match (record.fields.get(name), record.rest) {
                (Some(rule), _) => *rule,
                (None, Rest::Each(rule)) => rule,
                (None, Rest::Any) => continue,
                (None, Rest::None) => {
                    return self.misfit(node, value, |node, _| Misfit::unknown(node, record, fields, name));
                }
            };
            self.node(rule, field).map_err(|misfit| beneath(misfit, Step::Field(name.clone())))?;
        }
        match record.required.iter().find(|name| !fields.contains_key(*name)) {
            Some(missing) => self.misfit(node, value, |node, _| Misfit::missing(node, record, fields, missing)),
            None => Ok(()),
        }
    }

    fn misfit(&self, node: &'a Node, value: &Value, make: impl FnOnce(&'a Node, &Given<'_>) -> Misfit) -> Checked {
        let given = Given { rules: self.rules, value };
        Err(self.explain.then(|| Box::new(make(node, &given))))
    }
}

/// What an error is made of.
pub struct Given<'a> {
    pub rules: &'a Rules,
    pub value: &'a Value,
}

impl Choices {
    fn hold(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.names.iter().any(|name| name == text),
            Value::Number(number) => {
                let number = Bound::of(number);
                self.others.iter().filter_map(Value::as_number).any(|other| Bound::of(other).equals(number))
            }
            value => self.others.contains(value),
        }
    }

    fn variants(&self) -> u64 {
        if self.names.is_empty() { 0 } else { self.variants }
    }

    /// `{"Red": null}` is the variant `"Red"`.
    fn names_variant(&self, fields: &Map<String, Value>) -> bool {
        let mut fields = fields.iter();
        matches!((fields.next(), fields.next()), (Some((name, Value::Null)), None) if self.names.contains(name))
    }
}

impl List {
    fn holds(&self, length: usize) -> bool {
        let length = length as u64;
        self.min.is_none_or(|min| length >= min) && self.max.is_none_or(|max| length <= max)
    }
}

impl Record {
    /// Whether its fields may be written as an array, in their order.
    fn takes_list(&self, length: usize) -> bool {
        let is_struct = !self.names.is_empty() && !self.is_variant && !matches!(self.rest, Rest::Each(_));
        is_struct && (self.required.len()..=self.names.len()).contains(&length)
    }
}

/// The text of `{"$bytes": …}` or `{"$float": …}`, told as the encoder does.
fn tagged<'v>(fields: &'v Map<String, Value>, key: &str) -> Option<&'v str> {
    if fields.len() == 1 { fields.get(key)?.as_str() } else { None }
}

fn is_byte(value: &Value) -> bool {
    value.as_u64().is_some_and(|byte| byte <= u64::from(u8::MAX))
}

fn beneath(misfit: Option<Box<Misfit>>, step: Step) -> Option<Box<Misfit>> {
    misfit.map(|mut misfit| {
        misfit.below(step);
        misfit
    })
}

fn parts(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(parts).sum::<u64>(),
        Value::Object(fields) => 1 + fields.values().map(parts).sum::<u64>(),
        _ => 1,
    }
}
