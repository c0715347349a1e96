//! Parameters that cannot arrive as bytes, or have no name.

use gristmill_shared::kernel;

#[kernel]
fn text(text: &str) -> usize {
    text.len()
}

#[kernel]
fn changed(list: &mut Vec<u64>) {
    list.clear();
}

#[kernel]
fn nested(words: Vec<&str>) -> usize {
    words.len()
}

#[kernel]
fn anything(words: impl Iterator<Item = u64>) -> u64 {
    words.sum()
}

#[kernel]
fn pattern((a, b): (u64, u64)) -> u64 {
    a + b
}

#[kernel]
fn by_reference(ref a: u64) -> u64 {
    *a
}

#[kernel]
#[rustfmt::skip]
fn many(
    _a: u8, _b: u8, _c: u8, _d: u8, _e: u8, _f: u8, _g: u8, _h: u8, _i: u8,
    _j: u8, _k: u8, _l: u8, _m: u8, _n: u8, _o: u8, _p: u8, _q: u8,
) {
}

fn main() {}
