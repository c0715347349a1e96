//! Where a value does not fit, in words.

use serde_json::{Map, Value};

use super::check::Given;
use super::compile::{Node, Record, Rules, name_of};
use crate::schema;

/// How alike two names must be for one to be suggested, 0 to 1.
const ALIKE: f64 = 0.75;
/// An enum behind an option behind a reference is found.
const VARIANTS_DEPTH: usize = 3;
/// What is shown of a value.
const SHOWN_CHARS: usize = 60;

/// A step from a value into one of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Item(usize),
    Field(String),
}

/// What does not fit.
#[derive(Debug)]
pub struct Misfit {
    /// The way to it, last step first.
    path: Vec<Step>,
    /// What is wrong, to be read after the place.
    text: String,
    /// It says little about what was meant, if another alternative failed elsewhere: a tag or a kind is wrong.
    weak: bool,
    /// It speaks of the value itself, not of a part.
    kind: bool,
}

impl Misfit {
    fn new(text: String) -> Self {
        Self { path: Vec::new(), text, weak: false, kind: false }
    }

    pub fn below(&mut self, step: Step) {
        self.path.push(step);
        if self.kind {
            self.weak = false;
            self.kind = false;
        }
    }

    /// The value is of the wrong kind, or not among those of an enum.
    pub fn kind(node: &Node, given: &Given<'_>) -> Self {
        let names = node.choices.as_ref().map(|choices| choices.names.as_slice()).unwrap_or_default();
        let hint = given.value.as_str().and_then(|text| hint(text, names)).unwrap_or_default();
        Self { weak: true, kind: node.choices.is_none(), ..Self::value_with(node, given, &hint) }
    }

    /// The value is out of range.
    pub fn value(node: &Node, given: &Given<'_>) -> Self {
        Self::value_with(node, given, "")
    }

    fn value_with(node: &Node, given: &Given<'_>, hint: &str) -> Self {
        let expected = expected(node, given);
        Self::new(format!("{} is expected, not {}{hint}", expected, shown(given.value)))
    }

    /// A text is too short or too long.
    pub fn length(node: &Node, given: &Given<'_>) -> Self {
        let of = match (node.text.min, node.text.max) {
            (Some(min), Some(max)) if min == max => format!("{min}"),
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, max) => format!("at most {}", max.unwrap_or_default()),
        };
        Self::new(format!("a string of {of} characters is expected, not {}", shown(given.value)))
    }

    pub fn pattern(node: &Node, given: &Given<'_>) -> Self {
        let schema = given.rules.source(node);
        let pattern = schema.get("pattern").and_then(Value::as_str).unwrap_or_default();
        Self::new(format!("a string that matches {} is expected, not {}", short(pattern), shown(given.value)))
    }

    /// An array is too short or too long.
    pub fn count(node: &Node, given: &Given<'_>) -> Self {
        let of = match (node.list.min, node.list.max) {
            (Some(min), Some(max)) if min == max => format!("{min}"),
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, max) => format!("at most {}", max.unwrap_or_default()),
        };
        let found = given.value.as_array().map_or(0, Vec::len);
        Self::new(format!("an array of {of} elements is expected, not of {found}"))
    }

    /// A field that the kernel denies.
    pub fn unknown(_: &Node, record: &Record, fields: &Map<String, Value>, name: &str) -> Self {
        let free: Vec<String> =
            record.names.iter().filter(|name| !fields.contains_key(name.as_str())).cloned().collect();
        let hint = hint(name, &free).unwrap_or_else(|| match record.names.as_slice() {
            [] => "; it has none".to_owned(),
            names => format!("; there are {}", short(&names.join(", "))),
        });
        Self { weak: record.is_variant, ..Self::new(format!("there is no field {}{hint}", quoted(name))) }
    }

    /// A field that the kernel needs.
    pub fn missing(_: &Node, record: &Record, fields: &Map<String, Value>, name: &str) -> Self {
        let strange: Vec<String> = fields.keys().filter(|name| !record.fields.contains_key(*name)).cloned().collect();
        let near = nearest(name, &strange);
        let instead = near.map(|near| format!("; is {} meant for it?", quoted(near))).unwrap_or_default();
        let text = format!("the field {} is missing{instead}", quoted(name));
        Self { weak: record.is_variant, ..Self::new(text) }
    }

    /// No alternative fits: what the nearest says, or what there is to choose from.
    pub fn of_alternatives<'n>(
        mut misfits: Vec<Misfit>,
        branches: impl Iterator<Item = &'n Node>,
        given: &Given<'_>,
    ) -> Self {
        misfits.sort_by_key(|misfit| (misfit.weak, std::cmp::Reverse(misfit.path.len())));
        let mut found = misfits.into_iter();
        match (found.next(), found.next()) {
            (Some(first), None) => return first,
            (Some(first), Some(_)) if !first.weak => return first,
            _ => {}
        }
        let (mut expects, mut names) = (Vec::new(), Vec::new());
        for branch in branches {
            expects.push(expected(branch, given));
            variants(given.rules, branch, VARIANTS_DEPTH, &mut names);
        }
        let written = match given.value {
            Value::String(text) => Some(text),
            Value::Object(fields) => fields.keys().next(),
            _ => None,
        };
        let hint = written.and_then(|written| hint(written, &names)).unwrap_or_default();
        let text = format!("{} is expected, not {}{hint}", short(&expects.join(" or ")), shown(given.value));
        Self { weak: true, kind: true, ..Self::new(text) }
    }

    /// The whole: where it is, and what is wrong. `parameters` are the names of several; `named` tells that the
    /// arguments came by name.
    pub fn text(&self, parameters: &[String], named: bool) -> String {
        let mut steps = self.path.iter().rev();
        let mut place = String::new();
        if !parameters.is_empty() {
            match steps.next() {
                Some(Step::Item(item)) => match parameters.get(*item) {
                    Some(name) if named => place = path(&[Step::Field(name.clone())]),
                    Some(name) => place = format!("[{item}] ({name})"),
                    None => place = format!("[{item}]"),
                },
                Some(step) => place = path(std::slice::from_ref(step)),
                None => return format!("{} (an array of {})", self.text, parameters.join(", ")),
            }
        }
        let rest: Vec<Step> = steps.cloned().collect();
        let rest = path(&rest);
        let joint = if place.is_empty() || rest.is_empty() || rest.starts_with('[') { "" } else { "." };
        match (place.is_empty(), rest.is_empty()) {
            (true, true) => self.text.clone(),
            _ => format!("{place}{joint}{rest}: {}", self.text),
        }
    }
}

/// The names of what may be written here as one of an enum's variants.
fn variants(rules: &Rules, node: &Node, depth: usize, names: &mut Vec<String>) {
    names.extend(node.choices.iter().flat_map(|choices| choices.names.clone()));
    names.extend(node.record.iter().filter(|record| record.is_variant).flat_map(|record| record.names.clone()));
    let Some(depth) = depth.checked_sub(1) else { return };
    for inner in node.any.iter().chain(&node.all) {
        variants(rules, &rules.nodes[*inner], depth, names);
    }
}

/// `size.width`, `tags[3]`, `"odd name".x`
fn path(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Item(place) => path.push_str(&format!("[{place}]")),
            Step::Field(name) => {
                let is_plain = !name.is_empty()
                    && name.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '$'));
                let name = if is_plain { short(name) } else { quoted(name) };
                let dot = if path.is_empty() { "" } else { "." };
                path.push_str(&format!("{dot}{name}"));
            }
        }
    }
    path
}

fn expected(node: &Node, given: &Given<'_>) -> String {
    let text = schema::describe_part(&given.rules.schema, given.rules.source(node));
    let article = match text.split_whitespace().next() {
        Some("integer" | "object" | "array") => "an ",
        Some("string" | "number") => "a ",
        _ => "",
    };
    format!("{article}{text}")
}

/// A value as it was given, or what kind it is if it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        None => text,
        Some((end, _)) => format!("{} ({}…)", name_of(value), &text[..end]),
    }
}

fn quoted(text: &str) -> String {
    Value::from(short(text)).to_string()
}

fn short(text: &str) -> String {
    let mut letters = text.chars();
    let start: String = letters.by_ref().take(4 * SHOWN_CHARS).collect();
    if letters.next().is_none() { start } else { format!("{start}…") }
}

fn hint(wanted: &str, names: &[String]) -> Option<String> {
    nearest(wanted, names).map(|name| format!("; did you mean {}?", quoted(name)))
}

/// The name that was probably meant.
pub fn nearest<'n>(wanted: &str, names: &'n [String]) -> Option<&'n str> {
    let likeness = |name: &String| strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase());
    let near = names.iter().map(|name| (likeness(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    near.filter(|(like, _)| *like >= ALIKE).map(|(_, name)| name.as_str())
}
