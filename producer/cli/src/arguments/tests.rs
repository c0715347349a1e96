use gristmill::shared::codec;
use gristmill::shared::schemars::{self, JsonSchema, schema_for};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;

fn check_of(schema: Value) -> ArgumentCheck {
    ArgumentCheck::new(&KernelName::new("k").unwrap(), schema).unwrap()
}

fn checked<T: JsonSchema>(text: &str) -> Result<(), String> {
    check_of(schema_for!(T).into()).read(text).map(drop).map_err(|error| error.to_string())
}

fn misfit<T: JsonSchema>(text: &str) -> String {
    let error = checked::<T>(text).unwrap_err();
    error.strip_prefix("the arguments do not fit k: ").unwrap().to_owned()
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Thumbnail {
    path: String,
    size: Size,
    #[serde(default)]
    tags: Vec<String>,
    shape: Option<Shape>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Size {
    width: u32,
    height: u32,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only whether it can be read matters")]
enum Shape {
    Square,
    /// With a doc comment, its schema is another.
    Round,
    Ellipse {
        ratio: f64,
    },
    Polygon(u8),
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[expect(dead_code, reason = "only whether it can be read matters")]
enum Job {
    Resize { to: Size },
    Blur { radius: f32 },
}

#[test]
fn the_error_points_at_the_field() {
    let path = |text| misfit::<Thumbnail>(text);
    let wide = r#"{"path": "a", "size": {"width": "wide", "height": 1}}"#;
    assert_eq!(path(wide), r#"size.width: an integer 0 to 4294967295 is expected, not "wide""#);
    let tags = r#"{"path": "a", "size": {"width": 1, "height": 1}, "tags": ["x", 5]}"#;
    assert_eq!(path(tags), "tags[1]: a string is expected, not 5");
    assert_eq!(
        path(r#"{"size": {"width": 1, "height": 1}, "pth": "a"}"#),
        r#"the field "path" is missing; is "pth" meant for it?"#
    );
    let near = r#"{"path": "a", "size": {"widht": 1, "height": 1}}"#;
    assert_eq!(path(near), r#"size: there is no field "widht"; did you mean "width"?"#);
    assert!(path("5").ends_with(" is expected, not 5"), "{}", path("5"));
}

#[test]
fn enums_say_what_there_is_to_choose_from() {
    let with = |shape: &str| format!(r#"{{"path": "a", "size": [1, 1], "shape": {shape}}}"#);
    for fine in ["null", r#""Square""#, r#""Round""#, r#"{"Ellipse": {"ratio": 1}}"#, r#"{"Polygon": 5}"#] {
        checked::<Thumbnail>(&with(fine)).unwrap();
    }
    let found = misfit::<Thumbnail>(&with(r#""Sqare""#));
    assert!(found.starts_with("shape: ") && found.ends_with(r#"not "Sqare"; did you mean "Square"?"#), "{found}");
    let found = misfit::<Thumbnail>(&with(r#"{"Elipse": {"ratio": 1}}"#));
    assert!(found.ends_with(r#"did you mean "Ellipse"?"#), "{found}");
    let found = misfit::<Thumbnail>(&with(r#"{"Ellipse": {"ratio": "x"}}"#));
    assert_eq!(found, r#"shape.Ellipse.ratio: a number is expected, not "x""#);
    assert_eq!(
        misfit::<Thumbnail>(&with(r#"{"Polygon": 300}"#)),
        "shape.Polygon: an integer 0 to 255 is expected, not 300"
    );
    assert_eq!(misfit::<Job>(r#"{"type": "blur", "radius": "x"}"#), r#"radius: a number is expected, not "x""#);
    assert_eq!(misfit::<Job>(r#"{"type": "blur"}"#), r#"the field "radius" is missing"#);
    let found = misfit::<Job>(r#"{"type": "blurr", "radius": 1}"#);
    assert!(found.contains("blur"), "{found}");
}

#[test]
fn a_field_that_is_ignored_is_told_where_another_was_meant() {
    let check = check_of(schema_for!(Thumbnail).into());
    let doubt = |text: &str| check.doubt(&json::parse(text).unwrap());
    let found = doubt(r#"{"path": "a", "size": [1, 1], "tgas": []}"#).unwrap();
    assert_eq!(found, r#"k has no field "tgas" and ignores it; did you mean "tags"?"#);
    assert_eq!(doubt(r#"{"path": "a", "size": [1, 1], "tags": [], "comment": "x"}"#), None);
    assert_eq!(doubt("[1]"), None);
    assert_eq!(check_of(schema_for!(Size).into()).doubt(&json!({ "widht": 1 })), None, "that is refused");
}

#[test]
fn integers_are_exact() {
    assert_eq!(checked::<u64>("18446744073709551615"), Ok(()));
    assert_eq!(checked::<i64>("-9223372036854775808"), Ok(()));
    assert_eq!(misfit::<i64>("9223372036854775808"), "an integer is expected, not 9223372036854775808");
    assert_eq!(misfit::<u64>("-1"), "an integer >= 0 is expected, not -1");
    assert_eq!(misfit::<i32>("2147483648"), "an integer -2147483648 to 2147483647 is expected, not 2147483648");
    assert_eq!(misfit::<u64>("1.0"), "an integer >= 0 is expected, not 1.0");
    let exact = json!({ "type": "integer", "maximum": 9_007_199_254_740_993u64 });
    assert!(check_of(exact.clone()).read("9007199254740993").is_ok());
    assert!(check_of(exact).read("9007199254740994").is_err());
}

#[test]
fn several_arguments_have_names() {
    let schema = json!({
        "type": "array", "minItems": 2, "maxItems": 2,
        "prefixItems": [
            { "type": "integer", "minimum": 0, "title": "samples" },
            { "type": ["integer", "null"], "title": "seed" },
        ],
    });
    let check = check_of(schema);
    let error = |text| check.read(text).unwrap_err().to_string().replace("the arguments do not fit k: ", "");
    assert_eq!(error(r#"[1, "x"]"#), r#"[1] (seed): an integer or null is expected, not "x""#);
    assert_eq!(error(r#"{"samples": 5, "seed": "x"}"#), r#"seed: an integer or null is expected, not "x""#);
    assert_eq!(error("[1]"), "an array of 2 elements is expected, not of 1 (an array of samples, seed)");
    assert_eq!(check.read(r#"{"seed": 7, "samples": 5}"#).unwrap(), json::to_msgpack("[5, 7]").unwrap());
    assert_eq!(check.read(r#"{"samples": 5}"#).unwrap(), json::to_msgpack("[5, null]").unwrap());
    assert!(check.read(r#"{"seed": 7}"#).is_err() && check.read(r#"{"samples": 5, "sed": 7}"#).is_err());
}

#[test]
fn what_its_author_declares_is_checked() {
    let check = |schema: Value, text: &str| check_of(schema).read(text).map(drop).map_err(|error| error.to_string());
    let name = json!({ "type": "string", "pattern": "^[a-z]+$", "maxLength": 5 });
    assert_eq!(check(name.clone(), r#""abc""#), Ok(()));
    assert!(check(name.clone(), r#""aBc""#).unwrap_err().contains("matches ^[a-z]+$"));
    assert!(check(name, r#""abcdef""#).unwrap_err().contains("at most 5 characters"));
    let share = json!({ "type": "number", "minimum": 0, "exclusiveMaximum": 1 });
    assert_eq!(check(share.clone(), "0.5"), Ok(()));
    assert!(check(share, "1").unwrap_err().contains("a number >= 0 and < 1 is expected"));
    // A pattern that is none, or that no linear engine knows, restricts nothing.
    for pattern in ["(", "(?=a)b", &"(a{1000}){1000}".repeat(3)] {
        assert_eq!(check(json!({ "type": "string", "pattern": pattern }), r#""x""#), Ok(()), "{pattern}");
    }
}

/// The decoder is asked: whatever it takes is not refused, and what it refuses is, if `strict`.
fn agrees<T: JsonSchema + DeserializeOwned>(strict: bool) {
    let (check, mut wrong) = (check_of(schema_for!(T).into()), Vec::new());
    for text in CORPUS {
        let packed = json::to_msgpack(text).unwrap();
        let decoded = codec::decode::<T>(&packed).is_ok();
        match check.read(text) {
            Err(error) if decoded => wrong.push(format!("takes {text}, but: {error}")),
            Ok(_) if !decoded && strict => wrong.push(format!("does not take {text}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}: {wrong:#?}", std::any::type_name::<T>());
}

const CORPUS: &[&str] = &[
    "null",
    "true",
    "0",
    "1",
    "-1",
    "7",
    "255",
    "256",
    "300",
    "65536",
    "-129",
    "2147483648",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "-9223372036854775808",
    "1.0",
    "1.5",
    "-0.5",
    "1e300",
    r#"{"$float": "NaN"}"#,
    r#"{"$float": "Infinity"}"#,
    r#""""#,
    r#""a""#,
    r#""ü""#,
    r#""ab""#,
    r#""5""#,
    r#""Square""#,
    r#""square""#,
    r#""Polygon""#,
    r#""127.0.0.1""#,
    r#"{"$bytes": ""}"#,
    r#"{"$bytes": "YQ=="}"#,
    r#"{"$bytes": "YWI="}"#,
    r#"{"$bytes": "/w=="}"#,
    r#"{"$bytes": "U3F1YXJl"}"#,
    "[]",
    "[1]",
    "[1, 2]",
    "[1, 2, 3]",
    "[1, 1]",
    "[300, 2]",
    r#"["a"]"#,
    r#"["a", 1]"#,
    r#"[1, "a"]"#,
    "[null]",
    "[[1, 2]]",
    "[1.0]",
    r#"["a", [1, 2]]"#,
    r#"["a", [1, 2], []]"#,
    r#"["a", [1, 2], [], null]"#,
    r#"["a", [1, 2], [], null, 5]"#,
    "{}",
    r#"{"a": 1}"#,
    r#"{"a": "b"}"#,
    r#"{"a": 1, "b": 300}"#,
    r#"{"width": 1, "height": 2}"#,
    r#"{"width": 1}"#,
    r#"{"width": 1, "height": 2, "depth": 3}"#,
    r#"{"width": -1, "height": 2}"#,
    r#"{"width": 1.0, "height": 2}"#,
    r#"{"path": "a", "size": {"width": 1, "height": 2}}"#,
    r#"{"path": "a", "size": [1, 2], "more": 5}"#,
    r#"{"path": "a", "size": [1]}"#,
    r#"{"path": "a", "size": [1, 2], "shape": "Round", "tags": ["x"]}"#,
    r#"{"path": 5, "size": [1, 2]}"#,
    r#"{"path": "a", "size": [1, 2], "tags": null}"#,
    r#"{"Square": null}"#,
    r#"{"Square": 5}"#,
    r#"{"Ellipse": {"ratio": 1}}"#,
    r#"{"Ellipse": [1.5]}"#,
    r#"{"Ellipse": {}}"#,
    r#"["Ellipse"]"#,
    r#"{"Polygon": 5}"#,
    r#"{"Polygon": [5]}"#,
    r#"{"Polygon": 5, "Round": null}"#,
    r#"{"type": "blur", "radius": 1}"#,
    r#"{"type": "blur", "radius": 1, "more": 2}"#,
    r#"{"type": 1, "radius": 1}"#,
    r#"["blur", 1]"#,
    r#"{"type": "resize", "to": {"width": 1, "height": 2}}"#,
    r#"{"type": "resize", "to": {"width": 1}}"#,
    r#"{"type": "none"}"#,
    r#"{"secs": 1, "nanos": 2}"#,
    r#"{"secs": 1}"#,
    r#"{"secs": -1, "nanos": 2}"#,
    r#"{"start": 1, "end": 2}"#,
    r#"{"Ok": 5}"#,
    r#"{"Err": "x"}"#,
    r#"{"V4": [127, 0, 0, 1]}"#,
    "[127, 0, 0, 1]",
    r#"{"t": "A", "c": 1}"#,
    r#"{"t": "B"}"#,
    r#"{"x": "y"}"#,
    r#"{"x": 5}"#,
    r#"{"samples": 1, "hits": 2}"#,
    r#"{"1": 1}"#,
    r#"{"a": {"b": {"c": [1, {"d": 2}]}}}"#,
];

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only whether it can be read matters")]
enum Either {
    Count(u8),
    Named { x: String },
    Both(u8, String),
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "t", content = "c")]
#[expect(dead_code, reason = "only whether it can be read matters")]
enum Adjacent {
    A(u32),
    B,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Flat {
    #[serde(flatten)]
    job: Job,
    #[serde(flatten)]
    shape: Shape,
    a: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Rest {
    a: u32,
    #[serde(flatten)]
    others: std::collections::BTreeMap<String, u32>,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Tree {
    a: Option<Box<Tree>>,
    b: Option<Vec<Tree>>,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing;

#[derive(Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
enum Colour {
    Square,
    Green,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Raw(#[schemars(with = "Vec<u8>")] gristmill::Bytes);

#[test]
fn what_the_worker_takes_is_never_refused() {
    use std::collections::{BTreeMap, HashSet};
    macro_rules! agree {
        ($strict:literal: $($kind:ty),* $(,)?) => { $(agrees::<$kind>($strict);)* };
    }
    agree!(true: u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64, bool, char, String);
    agree!(true: Option<u8>, Option<String>, Vec<u64>, Vec<String>, [u8; 2], (u8, String));
    agree!(true: (u8, u8), (String, Option<u8>), HashSet<u16>, BTreeMap<String, u8>);
    agree!(true: Shape, Colour, std::num::NonZeroU8, std::time::Duration, std::ops::Range<u32>, gristmill::Bytes);
    agree!(true: Option<gristmill::Bytes>, std::path::PathBuf, Rest);
    // The order of fields is not known, and some types cannot be told apart by their schemas.
    agree!(false: Thumbnail, Size, Option<Size>, Job, Vec<Vec<u8>>, Either, Adjacent, Flat, Tree, Raw, Vec<u8>, BTreeMap<u32, u8>);
    agree!(false: BTreeMap<char, String>, BTreeMap<Colour, u8>, std::net::IpAddr, Value, (), Nothing, std::time::SystemTime, Result<u8, String>, i128);
}

#[test]
fn any_schema_is_survived() {
    let cycles = [
        json!({ "$ref": "#" }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
        json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
        json!({ "$ref": "https://example.org/schema" }),
        json!({ "$ref": "#/nowhere" }),
        json!({ "type": 7, "properties": 5, "items": { "minimum": "x" }, "required": [1], "minItems": -1 }),
        json!({ "type": "later" }),
    ];
    for schema in cycles {
        assert!(check_of(schema.clone()).read(r#"{"a": [1, "b"]}"#).is_ok(), "{schema}");
    }
    let kernel = KernelName::new("k").unwrap();
    let long = (0..1_000).fold(json!({}), |mut defs, at| {
        defs[format!("d{at}")] = json!({ "properties": { "a": { "$ref": format!("#/$defs/d{}", at + 1) } } });
        defs
    });
    assert!(ArgumentCheck::new(&kernel, json!({ "$ref": "#/$defs/d0", "$defs": long })).is_err());
    let wide: Value = (0..30_000).map(|_| json!({})).collect();
    assert!(ArgumentCheck::new(&kernel, json!({ "anyOf": wide })).is_err());
    assert!(ArgumentCheck::new(&kernel, json!("no schema")).is_err());
    assert!(ArgumentCheck::new(&kernel, Value::Null).unwrap().read("[1]").is_ok());
}

#[test]
fn a_hostile_schema_costs_a_bounded_time() {
    // 2^40 ways to fail
    let defs: serde_json::Map<String, Value> = (0..40)
        .map(|at| {
            let next = json!({ "$ref": format!("#/$defs/d{}", at + 1) });
            (format!("d{at}"), json!({ "anyOf": [next, next] }))
        })
        .chain([("d40".to_owned(), json!({ "type": "null" }))])
        .collect();
    let check = check_of(json!({ "$ref": "#/$defs/d0", "$defs": defs }));
    assert!(check.read("5").is_ok());
}

#[test]
fn what_json_schema_allows_is_not_refused() {
    let schemas: Vec<Value> = vec![
        schema_for!(Thumbnail).into(),
        schema_for!(Job).into(),
        schema_for!(Either).into(),
        schema_for!(Flat).into(),
        schema_for!(Tree).into(),
        schema_for!((u8, Option<Shape>)).into(),
        schema_for!(gristmill::Bytes).into(),
    ];
    for schema in schemas {
        let (reference, check) = (jsonschema::validator_for(&schema).unwrap(), check_of(schema.clone()));
        for text in CORPUS {
            let allowed = reference.is_valid(&json::parse(text).unwrap());
            // To JSON Schema, 1.0 is an integer, and what we spell as an object is one.
            let is_other = text.contains(".0") || text.contains('$');
            assert!(!allowed || is_other || check.read(text).is_ok(), "{text} for {schema}");
        }
    }
}
