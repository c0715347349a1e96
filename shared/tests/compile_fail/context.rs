//! The context in another form or place.

use gristmill_shared::{TaskContext, kernel};

#[kernel]
fn exclusive(_ctx: &mut TaskContext) {}

#[kernel]
fn owned(_ctx: TaskContext) {}

#[kernel]
fn forever(_ctx: &'static TaskContext) {}

#[kernel]
fn last(_n: u64, _ctx: &TaskContext) {}

#[kernel]
fn twice(_ctx: &TaskContext, _again: &TaskContext) {}

fn main() {}
