//! Any MessagePack value.

mod read;
mod write;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Most parts of one value: what is small on the wire can be large in memory.
pub const VALUES_MAX: usize = 1_000_000;
/// Deepest nesting of arrays and maps.
pub const DEPTH_MAX: usize = 128;

/// A MessagePack value of any kind.
///
/// What is read is written as an equal value; only the width of an integer's encoding may become the
/// shortest one.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number below zero, or one that came with a sign.
    Int(i64),
    /// A whole number.
    UInt(u64),
    /// A number of single precision.
    F32(f32),
    /// A number of double precision.
    F64(f64),
    /// A text.
    Text(String),
    /// Binary data.
    Bytes(Vec<u8>),
    /// An array.
    Array(Vec<Value>),
    /// A map: any keys, in the order in which they came.
    Map(Vec<(Value, Value)>),
    /// An extension type, as timestamps are: its number and its bytes.
    Extension(i8, Vec<u8>),
}

impl JsonSchema for Value {
    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}
