//! JSON on the command line, MessagePack in Redis.
//!
//! What JSON cannot say is spelled as an object of one key, in both directions: bytes as
//! `{"$bytes": "<base64>"}`, and `{"$float": "NaN"}`, `"Infinity"`, `"-Infinity"`. Integers of 64 bits
//! stay exact, and a float stays a float even where it is whole.

mod decode;
mod encode;

pub use decode::{fields, from_msgpack, write_json};
pub use encode::{JsonError, pack, parse, to_msgpack, write};

/// The key of an object that stands for bytes.
pub const BYTES: &str = "$bytes";
/// The key of an object that stands for a float which JSON cannot write.
pub const FLOAT: &str = "$float";

#[cfg(test)]
mod tests;
