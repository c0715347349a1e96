//! A JSON schema, made ready for checking many values.
//!
//! A schema comes from whichever worker published it. What is not known here restricts nothing, so a schema of
//! a later version refuses no more than one of today.

use std::collections::HashMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value, json};

use super::numbers::{Bound, Range};

/// More parts than any schema has that a person wrote.
const NODES_MAX: usize = 20_000;
/// Schemas within schemas, those referred to included.
const DEPTH_MAX: usize = 128;
/// A pattern's compiled form may take so many bytes.
const PATTERN_BYTES: usize = 1 << 20;
/// How many variants an enum is taken to have where its schema does not say.
const VARIANTS_UNKNOWN: u64 = 256;

/// The rules of one schema; the first is the schema itself.
pub struct Rules {
    pub nodes: Vec<Node>,
    pub schema: Value,
}

/// One schema of the whole.
#[derive(Default)]
pub struct Node {
    /// Where it stands in the whole, as JSON pointer.
    pub place: String,
    /// What kinds of values it allows; none: any.
    pub kinds: Option<Vec<Kind>>,
    pub range: Range,
    pub choices: Option<Choices>,
    pub text: Text,
    pub list: List,
    pub record: Option<Record>,
    /// Each of these holds, too.
    pub all: Vec<usize>,
    /// One of these holds, if there are any.
    pub any: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Integer,
    Number,
    Text,
    List,
    Record,
}

/// The values of an enum.
pub struct Choices {
    pub names: Vec<String>,
    pub others: Vec<Value>,
    /// The decoder also takes the place of a variant: below this.
    pub variants: u64,
}

#[derive(Default)]
pub struct Text {
    pub min: Option<u64>,
    pub max: Option<u64>,
    pub pattern: Option<Box<Validator>>,
    /// Its format has another form in MessagePack, perhaps an array or a map: an IP address, for instance.
    pub formatted: bool,
}

#[derive(Default)]
pub struct List {
    pub prefix: Vec<usize>,
    pub items: Option<usize>,
    pub min: Option<u64>,
    pub max: Option<u64>,
    /// Its items are bytes: then it may be a text or binary data as well.
    pub of_bytes: bool,
}

pub struct Record {
    pub fields: HashMap<String, usize>,
    /// The fields' names in their order.
    pub names: Vec<String>,
    pub required: Vec<String>,
    pub rest: Rest,
    /// It is `{"$bytes": …}`, which stands for binary data.
    pub is_bytes: bool,
    /// It is a variant with a value: `{"Circle": {…}}`.
    pub is_variant: bool,
}

/// What the fields may be that are not named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    Any,
    None,
    Each(usize),
}

impl Rules {
    /// Fails where the schema is none, or too large.
    pub fn compile(schema: Value) -> Result<Self, String> {
        let mut compiler = Compiler { schema: &schema, nodes: Vec::new(), known: HashMap::new(), depth: 0 };
        compiler.node(String::new(), Place::Alone)?;
        let nodes = compiler.nodes;
        Ok(Self { nodes, schema })
    }

    /// The schema that a node was made of.
    pub fn source(&self, node: &Node) -> &Value {
        self.schema.pointer(&node.place).unwrap_or(&Value::Null)
    }
}

/// What a schema is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    /// One of so many variants of an enum.
    Variant(u64),
    /// Something of an enum, whose fields stand beside those of the record around it.
    Flattened,
}

struct Compiler<'a> {
    schema: &'a Value,
    nodes: Vec<Node>,
    /// Nodes by their place, so that a schema may refer to itself.
    known: HashMap<String, usize>,
    depth: usize,
}

impl Compiler<'_> {
    /// The node of the schema at a place.
    fn node(&mut self, place: String, within: Place) -> Result<usize, String> {
        if within == Place::Alone
            && let Some(known) = self.known.get(&place)
        {
            return Ok(*known);
        }
        if self.nodes.len() == NODES_MAX || self.depth == DEPTH_MAX {
            return Err("their schema is too large, or nested too deep".to_owned());
        }
        let id = self.nodes.len();
        self.nodes.push(Node { place: place.clone(), ..Node::default() });
        if within == Place::Alone {
            self.known.insert(place.clone(), id);
        }
        let schema = match self.schema.pointer(&place) {
            Some(Value::Object(schema)) => schema,
            Some(Value::Bool(true)) | None => return Ok(id),
            Some(Value::Bool(false)) => {
                self.nodes[id].kinds = Some(Vec::new());
                return Ok(id);
            }
            Some(other) => return Err(format!("their schema holds {} where a schema should be", name_of(other))),
        };
        self.depth += 1;
        let node = self.read(&place, schema, within)?;
        self.depth -= 1;
        self.nodes[id] = node;
        Ok(id)
    }

    fn read(&mut self, place: &str, schema: &Map<String, Value>, within: Place) -> Result<Node, String> {
        let mut node = Node {
            place: place.to_owned(),
            kinds: schema.get("type").and_then(kinds),
            range: Range::of(schema),
            choices: choices(schema, within),
            text: text(schema),
            ..Node::default()
        };
        node.list = self.list(place, schema)?;
        node.record = self.record(place, schema, within)?;
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#')) {
            // A reference to itself alone says nothing.
            if target != place {
                node.all.push(self.node(target.to_owned(), Place::Alone)?);
            }
        }
        for (at, _) in schemas(schema, "allOf") {
            node.all.push(self.node(format!("{place}/allOf/{at}"), Place::Flattened)?);
        }
        self.alternatives(place, schema, &mut node)?;
        Ok(node)
    }

    fn alternatives(&mut self, place: &str, schema: &Map<String, Value>, node: &mut Node) -> Result<(), String> {
        let Some(name) = ["oneOf", "anyOf"].into_iter().find(|name| schema.contains_key(*name)) else { return Ok(()) };
        let branches = schemas(schema, name);
        let within = if schema.contains_key("properties") {
            // The variants of an enum whose name alone is written are no records: nothing can be said then.
            if !branches.iter().all(|(_, branch)| branch.get("type").is_some_and(|kind| kind == "object")) {
                return Ok(());
            }
            Place::Flattened
        } else if name == "oneOf" {
            Place::Variant(branches.iter().map(|(_, branch)| variants(branch)).sum())
        } else {
            Place::Alone
        };
        for (at, _) in branches {
            node.any.push(self.node(format!("{place}/{name}/{at}"), within)?);
        }
        Ok(())
    }

    fn list(&mut self, place: &str, schema: &Map<String, Value>) -> Result<List, String> {
        let number = |name: &str| schema.get(name).and_then(Value::as_u64);
        let mut list = List { min: number("minItems"), max: number("maxItems"), ..List::default() };
        for (at, _) in schemas(schema, "prefixItems") {
            list.prefix.push(self.node(format!("{place}/prefixItems/{at}"), Place::Alone)?);
        }
        if let Some(items) = schema.get("items") {
            list.of_bytes = list.min.is_none() && items.get("format").is_some_and(|format| format == "uint8");
            list.items = Some(self.node(format!("{place}/items"), Place::Alone)?);
        }
        Ok(list)
    }

    fn record(&mut self, place: &str, schema: &Map<String, Value>, within: Place) -> Result<Option<Record>, String> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let rest = schema.get("additionalProperties");
        if properties.is_none() && rest.is_none() {
            return Ok(None);
        }
        let (mut fields, mut names) = (HashMap::new(), Vec::new());
        for name in properties.into_iter().flat_map(Map::keys) {
            let step = name.replace('~', "~0").replace('/', "~1");
            fields.insert(name.clone(), self.node(format!("{place}/properties/{step}"), Place::Alone)?);
            names.push(name.clone());
        }
        let required: Vec<String> = strings(schema.get("required")).collect();
        let is_closed = rest == Some(&Value::Bool(false));
        let rest = match rest {
            // What other names a pattern allows is not looked at.
            Some(Value::Bool(false)) if within != Place::Flattened && !schema.contains_key("patternProperties") => {
                Rest::None
            }
            Some(Value::Object(_)) => Rest::Each(self.node(format!("{place}/additionalProperties"), Place::Alone)?),
            _ => Rest::Any,
        };
        let is_tag = |name: &String| properties.and_then(|fields| fields.get(name)?.get("const")).is_some();
        Ok(Some(Record {
            is_bytes: names == ["$bytes"],
            is_variant: matches!(within, Place::Variant(_)) && is_closed && names.len() == 1 && !is_tag(&names[0]),
            fields,
            names,
            required,
            rest,
        }))
    }
}

/// The schemas in a list of them, with their places.
fn schemas<'a>(schema: &'a Map<String, Value>, name: &str) -> Vec<(usize, &'a Value)> {
    schema.get(name).and_then(Value::as_array).into_iter().flatten().enumerate().collect()
}

fn strings(list: Option<&Value>) -> impl Iterator<Item = String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

/// How many variants of an enum a branch of its schema stands for.
fn variants(branch: &Value) -> u64 {
    branch.get("enum").and_then(Value::as_array).map_or(1, |names| names.len() as u64)
}

/// None where a kind is not known: then any will do.
fn kinds(value: &Value) -> Option<Vec<Kind>> {
    let one = |name: &str| {
        Some(match name {
            "null" => Kind::Null,
            "boolean" => Kind::Bool,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "string" => Kind::Text,
            "array" => Kind::List,
            "object" => Kind::Record,
            _ => return None,
        })
    };
    match value {
        Value::String(name) => Some(vec![one(name)?]),
        Value::Array(names) => names.iter().map(|name| one(name.as_str()?)).collect(),
        _ => None,
    }
}

fn choices(schema: &Map<String, Value>, within: Place) -> Option<Choices> {
    let values: Vec<Value> = match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => vec![value.clone()],
        (None, Some(Value::Array(values))) => values.clone(),
        _ => return None,
    };
    let (names, others): (Vec<Value>, Vec<Value>) = values.into_iter().partition(Value::is_string);
    let names: Vec<String> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let variants = match within {
        Place::Variant(variants) => variants,
        // the tag of an enum
        _ if schema.contains_key("const") => VARIANTS_UNKNOWN,
        _ => names.len() as u64,
    };
    Some(Choices { names, others, variants })
}

fn text(schema: &Map<String, Value>) -> Text {
    let number = |name: &str| schema.get(name).and_then(Value::as_u64);
    let pattern = schema.get("pattern").and_then(Value::as_str).and_then(|pattern| {
        // The engine without look-around takes time linear in the text; a pattern that it does not know says nothing.
        let options = PatternOptions::regex().size_limit(PATTERN_BYTES);
        jsonschema::options().with_pattern_options(options).build(&json!({ "pattern": pattern })).ok()
    });
    Text {
        min: number("minLength"),
        max: number("maxLength"),
        pattern: pattern.map(Box::new),
        formatted: schema.contains_key("format"),
    }
}

/// What stands where something else should.
pub fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(number) => match Bound::of(number) {
            Bound::Whole(_) => "an integer",
            Bound::Float(_) => "a float",
        },
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
