//! Outputs that cannot leave as bytes, and errors without a type.

use std::fmt;

use gristmill_shared::kernel;

#[kernel]
fn text(_n: u64) -> &'static str {
    "text"
}

#[kernel]
fn inside(_n: u64) -> Result<&'static str, fmt::Error> {
    Ok("text")
}

#[kernel]
fn opaque(_n: u64) -> impl Iterator<Item = u64> {
    0.._n
}

#[kernel]
fn bare(_n: u64) -> fmt::Result {
    Ok(())
}

#[kernel]
fn texts(_n: u64) -> Result<(), String> {
    Ok(())
}

#[kernel]
fn borrowed_texts(_n: u64) -> Result<(), &'static str> {
    Ok(())
}

fn main() {}
