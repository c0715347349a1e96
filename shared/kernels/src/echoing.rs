//! `echo`: whatever comes goes back.

use gristmill_shared::kernel;

use crate::value::Value;

/// Returns its argument, whatever that is.
///
/// For trying out a set-up and for measuring what a task costs. Every MessagePack value comes back
/// equal: binary data, maps with any keys in their order, extension types. Refused are values of more
/// than 1,000,000 parts or nested deeper than 128.
#[kernel]
pub fn echo(value: Value) -> Value {
    value
}
