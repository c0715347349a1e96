//! One parameter of a grid: `alpha=0:1:0.1`, `seed=1..100`, `mode=fast,exact`.

use std::str::FromStr;

use gristmill::shared::defaults::INTEGER_MAX;
use serde_json::Value;

use super::decimal::Decimal;

/// The values of one parameter, not more than are needed to count them.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The parameter.
    pub name: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Value(Value),
    /// `count` numbers, each `step` from the next, all at one scale.
    Range {
        first: i128,
        step: i128,
        scale: u32,
        /// Integers rather than floats.
        whole: bool,
        count: u64,
    },
}

impl Axis {
    /// How many values there are.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(Part::len).fold(0, u64::saturating_add)
    }

    /// The value at a place.
    pub fn get(&self, mut index: u64) -> Value {
        for part in &self.parts {
            match part {
                Part::Value(value) if index == 0 => return value.clone(),
                Part::Range { first, step, scale, whole, count } if index < *count => {
                    return number(first + step * i128::from(index), *scale, *whole);
                }
                part => index -= part.len(),
            }
        }
        Value::Null
    }
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Self::Value(_) => 1,
            Self::Range { count, .. } => *count,
        }
    }
}

/// The ends of a range were looked at, so that all between them fits, too.
fn number(mantissa: i128, scale: u32, whole: bool) -> Value {
    if !whole {
        return Decimal { mantissa, scale }.to_f64().into();
    }
    u64::try_from(mantissa).map_or_else(|_| i64::try_from(mantissa).unwrap_or(i64::MIN).into(), Value::from)
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, values)) = text.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            return Err("write NAME=VALUES, for instance seed=1..100".into());
        };
        if values.is_empty() {
            return Err(format!("{name} has no values"));
        }
        let parts = if values.starts_with('[') { array(values)? } else { list(values)? };
        Ok(Self { name: name.trim().to_owned(), parts })
    }
}

/// A JSON array: its items are the values.
fn array(text: &str) -> Result<Vec<Part>, String> {
    let items: Vec<Value> =
        serde_json::from_str(text).map_err(|error| format!("{text:?} is no JSON array: {error}"))?;
    if items.is_empty() {
        return Err("an empty array has no values".into());
    }
    Ok(items.into_iter().map(Part::Value).collect())
}

fn list(text: &str) -> Result<Vec<Part>, String> {
    split(text).into_iter().map(part).collect()
}

/// Commas separate, but not within a JSON string or an object.
fn split(text: &str) -> Vec<&str> {
    let (mut items, mut from, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0i64, false, false);
    for (at, c) in text.char_indices() {
        let starts_here = text[from..at].trim().is_empty();
        match c {
            _ if std::mem::take(&mut escaped) => {}
            '\\' if quoted => escaped = true,
            '"' if quoted || starts_here || depth > 0 => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth <= 0 => {
                items.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[from..]);
    items
}

fn part(text: &str) -> Result<Part, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a value is missing: write \"\" for an empty text".into());
    }
    if text.starts_with(['"', '{', '[']) {
        return value(text);
    }
    if let Some((first, last)) = text.split_once("..") {
        return integers(text, first, last);
    }
    match text.split(':').collect::<Vec<_>>()[..] {
        [first, last, step] if [first, last, step].iter().any(|part| is_numeric(part)) => {
            steps(text, first, last, step)
        }
        _ => value(text),
    }
}

/// JSON, or a text that needs no quotes.
fn value(text: &str) -> Result<Part, String> {
    match crate::json::to_msgpack(text) {
        Ok(_) => {}
        Err(crate::json::JsonError::Syntax(error)) if text.starts_with(['"', '{', '[']) => {
            return Err(format!("{text:?} is no JSON: {error}"));
        }
        Err(crate::json::JsonError::Syntax(_)) => return Ok(Part::Value(text.into())),
        Err(error) => return Err(error.to_string()),
    }
    Ok(Part::Value(serde_json::from_str(text).map_err(|error| error.to_string())?))
}

/// `1..100`: both ends are in it.
fn integers(text: &str, first: &str, last: &str) -> Result<Part, String> {
    let (Ok(from), Ok(to)) = (first.parse::<i64>(), last.parse::<i64>()) else {
        if !is_numeric(first) && !is_numeric(last) {
            return value(text);
        }
        return Err(format!("{text:?} must be two integers of 64 bits; for floats write first:last:step"));
    };
    if from > to {
        return Err(format!("{text:?} is empty: {from} is above {to}; to count down, write {from}:{to}:-1"));
    }
    range(text, (from.into(), to.into(), 1), 0, true)
}

/// `0:1:0.1`: the last is in it if a step meets it.
fn steps(text: &str, first: &str, last: &str, step: &str) -> Result<Part, String> {
    let read = |part: &str| {
        let why = "is no number of at most 25 digits; a text with colons needs quotes, as JSON";
        Decimal::parse(part).ok_or_else(|| format!("{text:?} must be first:last:step, but {part:?} {why}"))
    };
    let (from, to, by) = (read(first)?, read(last)?, read(step)?);
    let scale = from.scale.max(to.scale).max(by.scale);
    let aligned = (from.at_scale(scale), to.at_scale(scale), by.at_scale(scale));
    let (Some(from), Some(to), Some(by)) = aligned else {
        return Err(format!("{text:?} has numbers of too different sizes"));
    };
    let whole = ![first, last, step].iter().any(|part| part.contains(['.', 'e', 'E']));
    range(text, (from, to, by), scale, whole)
}

fn range(text: &str, (from, to, by): (i128, i128, i128), scale: u32, whole: bool) -> Result<Part, String> {
    let distance = to.checked_sub(from).ok_or_else(|| format!("{text:?} is too wide"))?;
    if by == 0 {
        return Err(format!("{text:?} has the step 0 and would never end"));
    }
    if distance != 0 && (distance < 0) != (by < 0) {
        return Err(format!("{text:?} is empty: its step leads away from its last value"));
    }
    let count = u64::try_from(distance / by + 1).ok().filter(|count| *count <= INTEGER_MAX);
    let count = count.ok_or_else(|| format!("{text:?} has more than 2^53 values"))?;
    let last = from + by * i128::from(count - 1);
    let fits = |end: i128| match whole {
        true => i64::try_from(end).is_ok() || u64::try_from(end).is_ok(),
        false => Decimal { mantissa: end, scale }.to_f64().is_finite(),
    };
    if !fits(from) || !fits(last) {
        return Err(format!("{text:?} has numbers that do not fit into 64 bits"));
    }
    Ok(Part::Range { first: from, step: by, scale, whole, count })
}

/// Whether somebody meant a number, be it none of ours.
fn is_numeric(text: &str) -> bool {
    text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Value {
        let axis: Axis = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(axis.name, "x");
        (0..axis.len()).map(|index| axis.get(index)).collect()
    }

    #[test]
    fn ranges_hold_both_ends_and_are_exact() {
        assert_eq!(values("x=0:1:0.1"), json!([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]));
        assert_eq!(values("x=0:1:0.3"), json!([0.0, 0.3, 0.6, 0.9]));
        assert_eq!(values("x=1:-1:-0.5"), json!([1.0, 0.5, 0.0, -0.5, -1.0]));
        assert_eq!(values("x=1e-3:3e-3:1e-3"), json!([0.001, 0.002, 0.003]));
        assert_eq!(values("x=5:5:1.0"), json!([5.0]));
        assert_eq!(values("x=10:0:-5"), json!([10, 5, 0]));
        assert_eq!(values("x=-2..1"), json!([-2, -1, 0, 1]));
        assert_eq!(values("x=9223372036854775806..9223372036854775807"), json!([i64::MAX - 1, i64::MAX]));
        assert_eq!(values("x=18446744073709551615:18446744073709551615:1"), json!([u64::MAX]));
    }

    #[test]
    fn lists_are_json_or_text() {
        assert_eq!(values("x=a,b c,3,-0.5,true,null"), json!(["a", "b c", 3, -0.5, true, null]));
        assert_eq!(values(r#"x="1","a,b","",007"#), json!(["1", "a,b", "", "007"]));
        assert_eq!(values(r#"x={"a":[1,2]},[3,4]"#), json!([{"a": [1, 2]}, [3, 4]]));
        assert_eq!(values(r#"x=["p,q",1]"#), json!(["p,q", 1]));
        assert_eq!(values("x=1..3,10,20:40:10"), json!([1, 2, 3, 10, 20, 30, 40]));
        assert_eq!(values("x=../data,http://h:80/a,a=b,it's"), json!(["../data", "http://h:80/a", "a=b", "it's"]));
        assert_eq!(values("x=ä\"ö"), json!(["ä\"ö"]));
    }

    #[test]
    fn what_has_no_values_is_refused() {
        for (text, why) in [
            ("x", "NAME=VALUES"),
            ("=1", "NAME=VALUES"),
            ("x=", "no values"),
            ("x=1,,2", "missing"),
            ("x=0:1:0", "step 0"),
            ("x=1:0:0.1", "leads away"),
            ("x=3..1", "3:1:-1"),
            ("x=0:NaN:1", "NaN"),
            ("x=nan:1:1", "nan"),
            ("x=0:inf:1", "inf"),
            ("x=0:1:x", "\"x\" is no number"),
            ("x=1.5..3", "integers"),
            ("x=1..3..5", "integers"),
            ("x=1..99999999999999999999", "integers"),
            ("x=0:1:1e-16", "more than 2^53"),
            ("x=0:1e30:1e-30", "different sizes"),
            ("x=1e400:1e400:1", "1e400"),
            ("x=99999999999999999999", "64 bits"),
            ("x=0:99999999999999999999:99999999999999999999", "64 bits"),
            ("x=\"a", "no JSON"),
            ("x=[1,", "no JSON array"),
            ("x=[]", "empty array"),
        ] {
            let error = text.parse::<Axis>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
