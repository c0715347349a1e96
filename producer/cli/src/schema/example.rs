//! A value that a kernel takes, made of its schema: for an example that can be copied.

use serde_json::{Map, Number, Value, json};

/// Schemas may refer to themselves.
const DEPTH_MAX: usize = 24;
/// A longer example is none.
const ITEMS_MAX: u64 = 16;

/// A value that fits, as small as it can be while it shows something; none if none is found.
pub fn example(schema: &Value) -> Option<Value> {
    Maker { root: schema, open: Vec::new() }.value(schema, DEPTH_MAX)
}

struct Maker<'a> {
    root: &'a Value,
    /// References within which this is: none may refer to itself.
    open: Vec<&'a str>,
}

impl<'a> Maker<'a> {
    fn value(&mut self, schema: &'a Value, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        let Some(schema) = schema.as_object() else { return (schema == true).then(|| json!("anything")) };
        let given = schema.get("examples").and_then(|list| list.get(0)).or_else(|| schema.get("const"));
        if let Some(value) = given.or_else(|| schema.get("enum")?.get(0)) {
            return Some(value.clone());
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            if self.open.contains(&target) {
                return None;
            }
            self.open.push(target);
            let value = self.value(self.root.pointer(target.strip_prefix('#')?)?, depth);
            self.open.pop();
            return value;
        }
        let branches = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(*name)?.as_array());
        if let Some(branches) = branches.filter(|_| !schema.contains_key("properties")) {
            return branches.iter().find_map(|branch| self.value(branch, depth));
        }
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().find(|kind| *kind != "null").or(kinds.first()),
            kind => kind,
        };
        match kind.and_then(Value::as_str) {
            Some("null") => Some(Value::Null),
            Some("boolean") => Some(true.into()),
            Some("integer") => Some(whole(schema)),
            Some("number") => Some(number(schema)),
            Some("string") => text(schema),
            Some("array") => self.list(schema, depth),
            Some("object") => self.record(schema, depth),
            Some(_) => None,
            None => Some(json!("anything")),
        }
    }

    fn list(&mut self, schema: &'a Map<String, Value>, depth: usize) -> Option<Value> {
        if let Some(items) = schema.get("prefixItems").and_then(Value::as_array) {
            return items.iter().map(|item| self.value(item, depth)).collect();
        }
        let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).max(1);
        let item = schema.get("items").map_or_else(|| Some(json!(1)), |item| self.value(item, depth));
        match item {
            Some(item) if count <= ITEMS_MAX => Some((0..count).map(|_| item.clone()).collect()),
            Some(_) => None,
            // its items refer to itself
            None => (!schema.contains_key("minItems")).then(|| json!([])),
        }
    }

    fn record(&mut self, schema: &'a Map<String, Value>, depth: usize) -> Option<Value> {
        let mut record = Map::new();
        let fields = schema.get("properties").and_then(Value::as_object);
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = name.as_str()?;
            if name == "$bytes" {
                return Some(json!({ "$bytes": "AAEC" }));
            }
            record.insert(name.to_owned(), self.value(fields?.get(name)?, depth)?);
        }
        Some(record.into())
    }
}

fn bound(schema: &Map<String, Value>, name: &str) -> Option<f64> {
    schema.get(name).and_then(Value::as_f64)
}

/// 1, if it may be.
fn whole(schema: &Map<String, Value>) -> Value {
    let least = schema.get("minimum").filter(|least| least.as_f64().is_some_and(|least| least > 1.0));
    if let Some(least) = least {
        return least.clone();
    }
    let most = schema.get("maximum").filter(|most| most.as_f64().is_some_and(|most| most < 1.0));
    most.cloned().unwrap_or_else(|| 1.into())
}

/// 0.5, if it may be.
fn number(schema: &Map<String, Value>) -> Value {
    let least = bound(schema, "minimum").or_else(|| bound(schema, "exclusiveMinimum").map(|least| least + 0.5));
    let most = bound(schema, "maximum").or_else(|| bound(schema, "exclusiveMaximum").map(|most| most - 0.5));
    let number = 0.5_f64.max(least.unwrap_or(f64::MIN)).min(most.unwrap_or(f64::MAX));
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn text(schema: &Map<String, Value>) -> Option<Value> {
    let length = |name: &str| schema.get(name).and_then(Value::as_u64);
    let (least, most) = (length("minLength").unwrap_or(0), length("maxLength").unwrap_or(u64::MAX));
    let word =
        if least <= 4 && most >= 4 { "text".to_owned() } else { "a".repeat(usize::try_from(least.max(1)).ok()?) };
    (least <= 60).then(|| word.into())
}
