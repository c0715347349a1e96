//! What a kernel takes, from the JSON schema of its arguments: in a line such as `[integer >= 0, string]`, as a table
//! of fields, and as an example.

mod example;
mod fields;

pub use self::example::example;
pub use self::fields::{Field, fields};

use serde_json::{Map, Value};

use crate::arguments::Range;

/// Schemas may refer to themselves; nobody reads what is nested deeper.
const DEPTH_MAX: usize = 4;
/// A schema comes from whichever worker published it.
const LENGTH_MAX: usize = 400;

/// Describes a schema. What cannot be told shortly is `anything`.
pub fn describe(schema: &Value) -> String {
    describe_part(schema, schema)
}

/// Describes a part of a schema.
pub fn describe_part(root: &Value, part: &Value) -> String {
    let text = Reader { root }.value(part, DEPTH_MAX);
    if text.chars().count() <= LENGTH_MAX {
        return text;
    }
    text.chars().take(LENGTH_MAX).chain(['…']).collect()
}

struct Reader<'a> {
    root: &'a Value,
}

impl Reader<'_> {
    fn value(&self, schema: &Value, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else { return "…".to_owned() };
        let Some(schema) = schema.as_object() else { return "anything".to_owned() };
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            return self.referred(target).map_or_else(|| "anything".to_owned(), |schema| self.value(schema, depth));
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return join(values.iter().map(Value::to_string), " or ");
        }
        if let Some(value) = schema.get("const") {
            return value.to_string();
        }
        if let Some(any) = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(*name)?.as_array()) {
            return join(any.iter().map(|schema| self.value(schema, depth)), " or ");
        }
        match schema.get("type") {
            Some(Value::String(name)) => self.of_type(name, schema, depth),
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str);
                join(names.map(|name| self.of_type(name, schema, depth)), " or ")
            }
            _ => "anything".to_owned(),
        }
    }

    fn of_type(&self, name: &str, schema: &Map<String, Value>, depth: usize) -> String {
        match name {
            "null" => "null".to_owned(),
            "boolean" => "true or false".to_owned(),
            "integer" | "number" => format!("{name} {}", Range::of(schema).text()).trim_end().to_owned(),
            "array" => self.array(schema, depth),
            "object" => self.object(schema, depth),
            other => other.to_owned(),
        }
    }

    fn array(&self, schema: &Map<String, Value>, depth: usize) -> String {
        if let Some(items) = schema.get("prefixItems").and_then(Value::as_array) {
            let item = |item: &Value| match item.get("title").and_then(Value::as_str) {
                Some(name) => format!("{name}: {}", self.value(item, depth)),
                None => self.value(item, depth),
            };
            return format!("[{}]", join(items.iter().map(item), ", "));
        }
        let item = schema.get("items").map_or_else(|| "anything".to_owned(), |item| self.value(item, depth));
        format!("[{item}, ...]")
    }

    fn object(&self, schema: &Map<String, Value>, depth: usize) -> String {
        if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
            let required = schema.get("required").and_then(Value::as_array);
            let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|other| other == name));
            let field = |(name, schema): (&String, &Value)| {
                let optional = if is_required(name) { "" } else { "?" };
                format!("{}{optional}: {}", Value::from(name.as_str()), self.value(schema, depth))
            };
            return format!("{{{}}}", join(fields.iter().map(field), ", "));
        }
        match schema.get("additionalProperties") {
            Some(value) if value.is_object() => format!("{{string: {}, ...}}", self.value(value, depth)),
            _ => "object".to_owned(),
        }
    }

    fn referred(&self, target: &str) -> Option<&Value> {
        self.root.pointer(target.strip_prefix('#')?)
    }
}

fn join(parts: impl Iterator<Item = String>, with: &str) -> String {
    parts.collect::<Vec<_>>().join(with)
}

#[cfg(test)]
mod tests {
    use gristmill::shared::schemars::{self, JsonSchema};

    use super::*;

    fn described<T: JsonSchema>() -> String {
        describe(&schemars::schema_for!(T).into())
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Thumbnail {
        path: String,
        size: Option<u32>,
        tree: Tree,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Tree {
        leaves: Vec<Tree>,
    }

    #[test]
    fn arguments_are_told_in_a_line() {
        assert_eq!(described::<u64>(), "integer >= 0");
        assert_eq!(described::<i64>(), "integer");
        assert_eq!(described::<()>(), "null");
        assert_eq!(described::<(u64, String, bool)>(), "[integer >= 0, string, true or false]");
        assert_eq!(described::<Vec<f64>>(), "[number, ...]");
        assert_eq!(described::<std::collections::BTreeMap<String, i64>>(), "{string: integer, ...}");
        assert_eq!(described::<gristmill::Bytes>(), r#"{"$bytes": string}"#);
        let nested = described::<Thumbnail>();
        assert!(
            nested.starts_with(r#"{"path": string, "size"?: integer 0 to 4294967295 or null"#) && nested.contains('…'),
            "{nested}"
        );
    }

    /// What is asked for.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Order {
        /// Where it is.
        path: String,
        size: Option<Size>,
        #[serde(default = "five")]
        times: u8,
        sizes: Vec<Size>,
        shape: Shape,
        data: gristmill::Bytes,
    }

    fn five() -> u8 {
        5
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Size {
        /// In pixels.
        width: u32,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Shape {
        Round,
        Ellipse { ratio: f64 },
    }

    #[test]
    fn each_field_has_a_row() {
        let rows = |schema: schemars::Schema| -> Vec<String> {
            let row = |field: Field| {
                let default = field.default.map(|value| format!(" = {value}")).unwrap_or_default();
                let optional = if field.required { "" } else { "?" };
                format!("{}{optional}: {}{default} {}", field.path, field.takes, field.about).trim_end().to_owned()
            };
            fields(&schema.into()).into_iter().map(row).collect()
        };
        let order = [
            "path: string Where it is.",
            "size?: object",
            "size.width: integer 0 to 4294967295 In pixels.",
            "times?: integer 0 to 255 = 5",
            "sizes: array of objects",
            "sizes[].width: integer 0 to 4294967295 In pixels.",
            r#"shape: "Round" or {"Ellipse": {"ratio": …}}"#,
            "shape.Ellipse: object",
            "shape.Ellipse.ratio: number",
            r#"data: {"$bytes": string}"#,
        ];
        assert_eq!(rows(schemars::schema_for!(Order)), order);
        assert_eq!(rows(schemars::schema_for!((u8, String))), ["[0]: integer 0 to 255", "[1]: string"]);
        assert_eq!(rows(schemars::schema_for!(())), [""; 0]);
        assert_eq!(rows(schemars::schema_for!(bool)), ["boolean: true or false"]);
    }

    #[test]
    fn an_example_fits_its_schema() {
        let shown = |schema: schemars::Schema| {
            let schema: Value = schema.into();
            let example = example(&schema).unwrap();
            assert!(crate::arguments::ArgumentCheck::by_schema(&schema).pack(example.clone()).is_ok(), "{example}");
            example.to_string()
        };
        let order = r#"{"path":"text","sizes":[{"width":1}],"shape":"Round","data":{"$bytes":"AAEC"}}"#;
        assert_eq!(shown(schemars::schema_for!(Order)), order);
        assert_eq!(shown(schemars::schema_for!((u64, f64, char))), r#"[1,0.5,"a"]"#);
        assert_eq!(shown(schemars::schema_for!(Tree)), r#"{"leaves":[{"leaves":[]}]}"#);
        assert_eq!(shown(schemars::schema_for!((i8, std::num::NonZeroU8, [bool; 2]))), "[1,1,[true,true]]");
        assert_eq!(shown(schemars::schema_for!(())), "null");
    }

    #[test]
    fn any_json_is_survived() {
        let cycle = serde_json::json!({ "$ref": "#" });
        assert_eq!((describe(&cycle), example(&cycle)), ("…".to_owned(), None));
        fields(&cycle);
        for schema in ["null", "true", "[]", "{}", r#"{"type": 7}"#, r##"{"$ref": "#/nowhere"}"##] {
            let schema = serde_json::from_str(schema).unwrap();
            assert_eq!(describe(&schema), "anything", "{schema}");
            fields(&schema);
            example(&schema);
        }
        let long = serde_json::json!({ "enum": ["x".repeat(10_000)] });
        assert_eq!(describe(&long).chars().count(), LENGTH_MAX + 1);
    }
}
