//! Ranges of numbers, exact for 64-bit integers.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    Whole(i128),
    Float(f64),
}

impl Bound {
    /// A number as it was written.
    pub fn of(number: &Number) -> Self {
        let whole = number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from));
        whole.map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Whole)
    }

    fn float(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Float(float) => float,
        }
    }

    pub fn equals(self, other: Self) -> bool {
        self.compare(other) == Some(Ordering::Equal)
    }

    /// None for what is not a number.
    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(&b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }
}

/// What a number may be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    min: Option<Bound>,
    max: Option<Bound>,
    above: Option<Bound>,
    below: Option<Bound>,
    /// What the integer's type can hold.
    width: Option<(i128, i128)>,
}

impl Range {
    pub fn of(schema: &Map<String, Value>) -> Self {
        let bound = |name: &str| schema.get(name)?.as_number().map(Bound::of);
        Self {
            min: bound("minimum"),
            max: bound("maximum"),
            above: bound("exclusiveMinimum"),
            below: bound("exclusiveMaximum"),
            width: schema.get("format").and_then(Value::as_str).and_then(width),
        }
    }

    /// Not a number fits any range: no comparison speaks against it.
    pub fn holds(&self, number: Bound) -> bool {
        let is = |bound: Option<Bound>, wrong: &[Ordering]| {
            bound.and_then(|bound| number.compare(bound)).is_none_or(|order| !wrong.contains(&order))
        };
        let fits = match (number, self.width) {
            (Bound::Whole(whole), Some((min, max))) => (min..=max).contains(&whole),
            _ => true,
        };
        fits && is(self.min, &[Ordering::Less])
            && is(self.max, &[Ordering::Greater])
            && is(self.above, &[Ordering::Less, Ordering::Equal])
            && is(self.below, &[Ordering::Greater, Ordering::Equal])
    }

    /// In words: `0 to 255`, `>= 0`; nothing where any number fits.
    pub fn text(&self) -> String {
        // The ends of 64 bits bound nothing that could be written.
        let wide = |(min, max): &(i128, i128)| *min > i128::from(i64::MIN) && *max < i128::from(i64::MAX);
        let width = self.width.filter(wide);
        let min = self.min.or_else(|| width.map(|width| Bound::Whole(width.0)));
        let max = self.max.or_else(|| width.map(|width| Bound::Whole(width.1)));
        let number = |bound: Bound| match bound {
            Bound::Whole(whole) => whole.to_string(),
            Bound::Float(float) => float.to_string(),
        };
        let mut parts = Vec::new();
        match (min, max) {
            (Some(min), Some(max)) => parts.push(format!("{} to {}", number(min), number(max))),
            (Some(min), None) => parts.push(format!(">= {}", number(min))),
            (None, Some(max)) => parts.push(format!("<= {}", number(max))),
            (None, None) => {}
        }
        parts.extend(self.above.map(|above| format!("> {}", number(above))));
        parts.extend(self.below.map(|below| format!("< {}", number(below))));
        parts.join(" and ")
    }
}

/// What the formats mean that schemars gives to Rust's integers.
fn width(format: &str) -> Option<(i128, i128)> {
    let range = match format {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" | "int" => (i64::MIN.into(), i64::MAX.into()),
        "uint8" => (0, u8::MAX.into()),
        "uint16" => (0, u16::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        "uint64" | "uint" => (0, u64::MAX.into()),
        _ => return None,
    };
    Some(range)
}
