//! The fields of what a kernel takes, one row each, for a table that people read.

use serde_json::{Map, Value};

use super::describe_part;

/// Nobody reads more rows, or what is nested deeper.
const ROWS_MAX: usize = 200;
const DEPTH_MAX: usize = 10;
/// References that follow each other.
const REFERENCES_MAX: usize = 16;

/// A parameter, or a field within one.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Where it stands in the arguments: `size.width`, `tags[]`.
    pub path: String,
    /// What may stand there.
    pub takes: String,
    /// Whether it has to be there.
    pub required: bool,
    /// What it is if it is not there.
    pub default: Option<Value>,
    /// Its doc comment.
    pub about: String,
}

/// All fields of a schema, from the outside to the inside.
pub fn fields(schema: &Value) -> Vec<Field> {
    let mut walk = Walk { root: schema, fields: Vec::new() };
    let object = walk.resolve(schema);
    match object.get("prefixItems").and_then(Value::as_array) {
        Some(items) => {
            for (place, item) in items.iter().enumerate() {
                let title = item.get("title").and_then(Value::as_str);
                let path = title.map_or_else(|| format!("[{place}]"), str::to_owned);
                walk.field(path, item, true, DEPTH_MAX);
            }
        }
        None if has_parts(&object) => walk.parts("", &object, DEPTH_MAX),
        None if !schema.is_object() || object.get("type").is_some_and(|name| name == "null") => {}
        None => {
            let path = object.get("title").and_then(Value::as_str).unwrap_or("(value)").to_owned();
            walk.field(path, schema, true, DEPTH_MAX);
        }
    }
    walk.fields
}

struct Walk<'a> {
    root: &'a Value,
    fields: Vec<Field>,
}

impl Walk<'_> {
    fn field(&mut self, path: String, schema: &Value, required: bool, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        if self.fields.len() == ROWS_MAX {
            return;
        }
        let object = self.resolve(schema);
        let parts = has_parts(&object);
        let takes = match (parts, object.contains_key("items")) {
            (true, true) => "array of objects".to_owned(),
            (true, false) if object.contains_key("properties") => "object".to_owned(),
            _ => describe_part(self.root, schema),
        };
        self.fields.push(Field {
            path: path.clone(),
            takes,
            required,
            default: object.get("default").cloned(),
            about: object.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        });
        if parts {
            self.parts(&path, &object, depth);
        }
    }

    /// The fields of an object, of the objects in an array, and of each alternative.
    fn parts(&mut self, path: &str, object: &Map<String, Value>, depth: usize) {
        let Some(below) = depth.checked_sub(1) else { return };
        let required = object.get("required").and_then(Value::as_array);
        for (name, schema) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let dot = if path.is_empty() { "" } else { "." };
            let is_required = required.is_some_and(|names| names.iter().any(|other| other == name));
            self.field(format!("{path}{dot}{name}"), schema, is_required, below);
        }
        if let Some(items) = object.get("items") {
            let items = self.resolve(items);
            self.parts(&format!("{path}[]"), &items, below);
        }
        for branch in alternatives(object) {
            let branch = self.resolve(branch);
            self.parts(path, &branch, below);
        }
    }

    /// A schema with what it refers to; what stands beside the reference comes first. Of a value or null, the value.
    fn resolve(&self, schema: &Value) -> Map<String, Value> {
        let mut object = schema.as_object().cloned().unwrap_or_default();
        for _ in 0..REFERENCES_MAX {
            let next = match object.remove("$ref") {
                Some(target) => {
                    target.as_str().and_then(|target| self.root.pointer(target.strip_prefix('#')?)).cloned()
                }
                None => self.sole_value(&mut object),
            };
            let Some(Value::Object(next)) = next else { break };
            for (name, value) in next {
                object.entry(name).or_insert(value);
            }
        }
        object
    }

    fn sole_value(&self, object: &mut Map<String, Value>) -> Option<Value> {
        let any = object.get("anyOf")?.as_array()?;
        let mut values = any.iter().filter(|branch| branch.get("type").is_none_or(|name| name != "null"));
        let (Some(value), None) = (values.next().cloned(), values.next()) else { return None };
        object.remove("anyOf");
        Some(value)
    }
}

fn alternatives(object: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let branches = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|name| object.get(name)?.as_array());
    branches.flatten()
}

/// Whether it has fields of its own that are worth a row: not of one special spelling, such as bytes.
fn has_parts(object: &Map<String, Value>) -> bool {
    let names = |object: &Map<String, Value>| {
        let fields = object.get("properties").and_then(Value::as_object);
        fields.is_some_and(|fields| fields.keys().any(|name| !name.starts_with('$')))
    };
    let refers = |schema: &Value| schema.as_object().is_some_and(|schema| names(schema) || schema.contains_key("$ref"));
    names(object) || object.get("items").is_some_and(refers) || alternatives(object).any(refers)
}
