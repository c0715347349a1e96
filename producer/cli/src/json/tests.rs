use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use super::*;

fn round(text: &str) -> String {
    from_msgpack(&to_msgpack(text).unwrap()).unwrap()
}

#[test]
fn numbers_stay_what_they_are() {
    for text in [
        "18446744073709551615",
        "-9223372036854775808",
        "9007199254740993",
        "0",
        "-1",
        "1.0",
        "-0.0",
        "0.1",
        "1e300",
        "[1,2.0]",
    ] {
        let back = round(text);
        assert_eq!(serde_json::from_str::<Value>(&back).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(back.contains('.') || back.contains('e'), text.contains('.') || text.contains('e'), "{back}");
    }
}

#[test]
fn floats_of_32_bits_print_short() {
    assert_eq!(from_msgpack(&rmp_serde::to_vec(&0.1f32).unwrap()).unwrap(), "0.1");
}

#[test]
fn integers_that_would_be_rounded_are_refused() {
    for text in ["18446744073709551616", "[-9223372036854775809]", r#"{"a\"": 100000000000000000000}"#] {
        assert!(matches!(to_msgpack(text), Err(JsonError::Integer(_))), "{text}");
    }
    assert!(to_msgpack(r#"["100000000000000000000", 1e30]"#).is_ok());
}

#[test]
fn what_json_cannot_say_has_a_spelling() {
    for text in [
        r#"{"$bytes":"AAH/"}"#,
        r#"{"$float":"NaN"}"#,
        r#"[{"$float":"Infinity"},{"$float":"-Infinity"}]"#,
        r#"{"$bytes":"AA==","more":1}"#,
    ] {
        assert_eq!(round(text), text);
    }
    assert!(rmp_serde::from_slice::<f64>(&to_msgpack(r#"{"$float":"NaN"}"#).unwrap()).unwrap().is_nan());
    assert!(matches!(to_msgpack(r#"{"$bytes":"%"}"#), Err(JsonError::Bytes(_))));
    assert!(matches!(to_msgpack(r#"{"$bytes":5}"#), Err(JsonError::Bytes(_))));
    assert!(matches!(to_msgpack(r#"{"$float":"nan"}"#), Err(JsonError::Float(_))));
}

#[test]
fn keys_become_strings() {
    let map = std::collections::BTreeMap::from([(1u8, "a"), (2, "b")]);
    assert_eq!(from_msgpack(&rmp_serde::to_vec(&map).unwrap()).unwrap(), r#"{"1":"a","2":"b"}"#);
}

#[test]
fn structures_arrive_in_rust() {
    #[derive(Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Args {
        name: String,
        sizes: Vec<u32>,
        scale: Option<f64>,
    }
    let bytes = to_msgpack(r#"{"name": "ü", "sizes": [1, 2], "scale": 2}"#).unwrap();
    let args: Args = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(args, Args { name: "ü".into(), sizes: vec![1, 2], scale: Some(2.0) });
}

#[test]
fn deep_values_are_refused_without_a_crash() {
    assert!(from_msgpack(&vec![0x91; 100_000]).is_err());
    assert!(to_msgpack(&"[".repeat(100_000)).is_err());
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no such number", |f| f.is_finite()).prop_map(|f| json!(f)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map("[a-zü\"\\\\]{0,6}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_survives_both_ways(value in values()) {
        let back = from_msgpack(&pack(&value).unwrap()).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&back).unwrap(), value.clone());
        // The text scan sees no integer that the parser could not hold.
        prop_assert_eq!(to_msgpack(&back).unwrap(), pack(&value).unwrap());
    }

    #[test]
    fn bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let packed = rmp_serde::to_vec(&serde_bytes_of(&bytes)).unwrap();
        let text = from_msgpack(&packed).unwrap();
        prop_assert_eq!(to_msgpack(&text).unwrap(), packed);
    }

    #[test]
    fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(text) = from_msgpack(&bytes) {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        }
        let _ = to_msgpack(&String::from_utf8_lossy(&bytes));
    }
}

/// A value that is encoded as MessagePack bytes.
fn serde_bytes_of(bytes: &[u8]) -> impl Serialize {
    gristmill::Bytes(bytes.to_vec())
}
