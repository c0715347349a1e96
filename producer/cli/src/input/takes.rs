//! What a kernel takes, as far as it matters for cells: from the JSON schema of its arguments.

use serde_json::{Map, Value};

/// Schemas may refer to themselves.
const DEPTH_MAX: usize = 8;

/// The arguments of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub enum Takes {
    /// Anything, or nobody knows.
    Unknown,
    /// One value that is no record.
    One(Kinds),
    /// One value, a list of such.
    List(Kinds),
    /// One record.
    Record(Vec<Field>),
    /// An array of several parameters, with their names where the schema tells them.
    Several(Vec<(Option<String>, Kinds)>),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub kinds: Kinds,
    pub required: bool,
}

/// What may stand in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    text: bool,
    /// Floats, those too that are no number.
    number: bool,
    flag: bool,
    null: bool,
    structured: bool,
    /// Nothing is known.
    any: bool,
}

impl Default for Kinds {
    fn default() -> Self {
        Self::ANY
    }
}

impl Kinds {
    const NONE: Self = Self { text: false, number: false, flag: false, null: false, structured: false, any: false };
    pub const ANY: Self = Self { any: true, ..Self::NONE };
    pub const STRUCTURED: Self = Self { structured: true, ..Self::NONE };

    /// Whether there may be no value.
    pub fn may_be_nothing(self) -> bool {
        self.null || self.any
    }

    /// The value of a cell.
    pub fn read(self, cell: &str) -> Result<Value, String> {
        if self.text {
            return Ok(if self.null && cell.is_empty() { Value::Null } else { cell.into() });
        }
        match cell {
            "" => return Ok(Value::Null),
            "true" | "false" if self.any || self.flag => return Ok(Value::Bool(cell == "true")),
            _ => {}
        }
        if self.structured && cell.trim_start().starts_with(['[', '{']) {
            return serde_json::from_str(cell).map_err(|error| format!("not JSON: {error}"));
        }
        let ends = |c: char| c.is_ascii_digit();
        let is_number = cell.starts_with(|c| c == '-' || ends(c)) && cell.ends_with(ends);
        if is_number && let Ok(number @ Value::Number(_)) = serde_json::from_str(cell) {
            return self.number(cell, number);
        }
        Ok(match not_finite(cell).filter(|_| self.number) {
            Some(name) => serde_json::json!({ crate::json::FLOAT: name }),
            None => cell.into(),
        })
    }

    /// A value that was written without quotes, as a text where nothing else may stand.
    pub fn adapt(self, value: &Value) -> Value {
        let only_text = Self { null: self.null, ..Self::NONE } == Self { text: false, ..self };
        match value {
            Value::Number(_) | Value::Bool(_) if self.text && only_text => value.to_string().into(),
            value => value.clone(),
        }
    }

    fn number(self, cell: &str, number: Value) -> Result<Value, String> {
        let is_integer = !cell.contains(['.', 'e', 'E']);
        if is_integer && number.is_f64() && !self.number {
            return Err(format!("the integer {cell} does not fit into 64 bits; --strings reads all cells as texts"));
        }
        Ok(number)
    }

    fn and(self, other: Self) -> Self {
        Self {
            text: self.text || other.text,
            number: self.number || other.number,
            flag: self.flag || other.flag,
            null: self.null || other.null,
            structured: self.structured || other.structured,
            any: self.any || other.any,
        }
    }
}

/// As other programs write them, too.
fn not_finite(cell: &str) -> Option<&'static str> {
    match cell.to_ascii_lowercase().as_str() {
        "nan" => Some("NaN"),
        "inf" | "infinity" => Some("Infinity"),
        "-inf" | "-infinity" => Some("-Infinity"),
        _ => None,
    }
}

impl Takes {
    /// Reads a schema.
    pub fn of(schema: &Value) -> Self {
        let reader = Reader { root: schema };
        let Some(schema) = reader.resolve(schema, DEPTH_MAX) else { return Self::Unknown };
        if let Some(items) = schema.get("prefixItems").and_then(Value::as_array) {
            let name = |item: &Value| item.get("title").and_then(Value::as_str).map(str::to_owned);
            return Self::Several(items.iter().map(|item| (name(item), reader.kinds(item, DEPTH_MAX))).collect());
        }
        if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
            return reader.record(schema, fields);
        }
        if schema.get("type").and_then(Value::as_str) == Some("array") {
            let items = schema.get("items").map_or(Kinds::ANY, |items| reader.kinds(items, DEPTH_MAX));
            return Self::List(items);
        }
        let kinds = reader.of_object(schema, DEPTH_MAX);
        // A map, or something that may be a record among others.
        if kinds.any || kinds.structured { Self::Unknown } else { Self::One(kinds) }
    }
}

struct Reader<'a> {
    root: &'a Value,
}

impl<'a> Reader<'a> {
    fn record(&self, schema: &Map<String, Value>, fields: &Map<String, Value>) -> Takes {
        // A special spelling of one value, such as bytes.
        if fields.keys().any(|name| name.starts_with('$')) {
            return Takes::One(Kinds::STRUCTURED);
        }
        let required = schema.get("required").and_then(Value::as_array);
        let field = |(name, schema): (&String, &Value)| Field {
            name: name.clone(),
            kinds: self.kinds(schema, DEPTH_MAX),
            required: required.is_some_and(|names| names.iter().any(|other| other == name)),
        };
        Takes::Record(fields.iter().map(field).collect())
    }

    /// Follows references.
    fn resolve(&self, mut schema: &'a Value, depth: usize) -> Option<&'a Map<String, Value>> {
        for _ in 0..depth {
            let object = schema.as_object()?;
            match object.get("$ref").and_then(Value::as_str) {
                None => return Some(object),
                Some(target) => schema = self.root.pointer(target.strip_prefix('#')?)?,
            }
        }
        None
    }

    fn kinds(&self, schema: &'a Value, depth: usize) -> Kinds {
        match (depth.checked_sub(1), self.resolve(schema, DEPTH_MAX)) {
            (Some(depth), Some(schema)) => self.of_object(schema, depth),
            _ => Kinds::ANY,
        }
    }

    fn of_object(&self, schema: &'a Map<String, Value>, depth: usize) -> Kinds {
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return values.iter().map(of_value).fold(Kinds::NONE, Kinds::and);
        }
        if let Some(value) = schema.get("const") {
            return of_value(value);
        }
        if let Some(any) = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(*name)?.as_array()) {
            return any.iter().map(|schema| self.kinds(schema, depth)).fold(Kinds::NONE, Kinds::and);
        }
        match schema.get("type") {
            Some(Value::String(name)) => of_type(name),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).map(of_type).fold(Kinds::NONE, Kinds::and)
            }
            _ => Kinds::ANY,
        }
    }
}

fn of_type(name: &str) -> Kinds {
    match name {
        "string" => Kinds { text: true, ..Kinds::NONE },
        // Numbers may stand everywhere but among texts.
        "integer" => Kinds::NONE,
        "number" => Kinds { number: true, ..Kinds::NONE },
        "boolean" => Kinds { flag: true, ..Kinds::NONE },
        "null" => Kinds { null: true, ..Kinds::NONE },
        "array" | "object" => Kinds::STRUCTURED,
        _ => Kinds::ANY,
    }
}

fn of_value(value: &Value) -> Kinds {
    match value {
        Value::Null => of_type("null"),
        Value::Bool(_) => of_type("boolean"),
        Value::Number(_) => of_type("number"),
        Value::String(_) => of_type("string"),
        Value::Array(_) | Value::Object(_) => Kinds::STRUCTURED,
    }
}

#[cfg(test)]
mod tests {
    use gristmill::shared::schemars::{self, JsonSchema};

    use super::*;

    fn takes<T: JsonSchema>() -> Takes {
        Takes::of(&schemars::schema_for!(T).into())
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Thumbnail {
        path: String,
        size: Option<u32>,
        mode: Option<Mode>,
        note: Option<String>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Mode {
        Fast,
        Exact,
    }

    #[test]
    fn schemas_of_kernels_are_understood() {
        assert!(matches!(takes::<u64>(), Takes::One(_)));
        assert!(matches!(takes::<Option<String>>(), Takes::One(kinds) if kinds.text && kinds.null));
        assert!(matches!(takes::<(u64, String)>(), Takes::Several(all) if all.len() == 2 && all[1].1.text));
        assert!(matches!(takes::<Vec<f64>>(), Takes::List(kinds) if kinds.number));
        assert!(matches!(takes::<gristmill::Bytes>(), Takes::One(kinds) if kinds.structured));
        assert_eq!(takes::<std::collections::BTreeMap<String, i32>>(), Takes::Unknown);
        let Takes::Record(fields) = takes::<Thumbnail>() else { panic!("no record") };
        let field = |name: &str| fields.iter().find(|field| field.name == name).unwrap().clone();
        assert!(field("path").required && field("path").kinds.text);
        assert!(!field("size").required && !field("size").kinds.text);
        assert!(field("mode").kinds.text && field("note").kinds.null);
    }

    #[test]
    fn any_json_is_survived() {
        for schema in ["null", "true", "[]", "{}", r#"{"type": 7}"#, r##"{"$ref": "#"}"##, r##"{"$ref": "#/no"}"##] {
            assert_eq!(Takes::of(&serde_json::from_str(schema).unwrap()), Takes::Unknown, "{schema}");
        }
        let nested = serde_json::json!({ "anyOf": [{ "$ref": "#" }] });
        assert_eq!(Takes::of(&nested), Takes::Unknown);
    }
}
