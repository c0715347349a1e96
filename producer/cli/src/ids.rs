//! Several ids: on the command line, or on stdin as other commands print them.

use std::io::Read;
use std::str::FromStr;

use serde_json::Value;

use crate::exit::Exit;
use crate::id::Id;

/// More than a million ids.
const TEXT_MAX: u64 = 64 << 20;

/// One id, or all that stand on stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    One(Id),
    Stdin,
}

impl FromStr for Ids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" { Ok(Self::Stdin) } else { text.parse().map(Self::One) }
    }
}

/// All of them, in their order.
pub async fn all(given: &[Ids]) -> Result<Vec<Id>, Exit> {
    let mut ids = Vec::new();
    for id in given {
        match id {
            Ids::One(id) => ids.push(*id),
            Ids::Stdin => ids.extend(parse(&read().await?)?),
        }
    }
    Ok(ids)
}

/// Reads on a thread of its own, so that a signal can end the command meanwhile.
async fn read() -> Result<String, Exit> {
    let (done, text) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = std::io::stdin().lock().take(TEXT_MAX + 1).read_to_string(&mut text);
        // Nobody waits any more if a signal came.
        let _ = done.send(read.map(|_| text));
    });
    let text = text.await.map_err(|_| Exit::new(Exit::BUG, "the thread that read stdin is gone"))?;
    let text = text.map_err(|error| Exit::usage(format!("cannot read ids from stdin: {error}")))?;
    if text.len() as u64 > TEXT_MAX {
        return Err(Exit::usage(format!("the ids on stdin are longer than {TEXT_MAX} bytes")));
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Vec<Id>, Exit> {
    if text.trim_start().starts_with('[') {
        return array(text).map_err(|why| Exit::usage(format!("stdin: {why}")));
    }
    let mut ids = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        match id_of(line.trim()) {
            Ok(Some(id)) => ids.push(id),
            Ok(None) => {}
            Err(why) => return Err(Exit::usage(format!("line {number} of stdin: {why}"))),
        }
    }
    Ok(ids)
}

/// The ids of an array, as `status --json` prints one.
fn array(text: &str) -> Result<Vec<Id>, String> {
    let values: Vec<Value> = serde_json::from_str(text).map_err(|error| format!("not a JSON array: {error}"))?;
    let found = (1..).zip(&values).map(|(number, value)| match id_in(value) {
        Ok(id) => Ok(id),
        Err(why) => Err(format!("element {number}: {why}")),
    });
    found.filter_map(Result::transpose).collect()
}

/// The id on a line: as it is, or in the object of a record, of a failure or of a status.
fn id_of(line: &str) -> Result<Option<Id>, String> {
    if line.is_empty() {
        return Ok(None);
    }
    if !line.starts_with(['{', '"']) {
        return line.parse().map(Some);
    }
    let value: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    id_in(&value)
}

fn id_in(value: &Value) -> Result<Option<Id>, String> {
    let object = value.get("$error").unwrap_or(value);
    let field = ["id", "task", "batch"].iter().find_map(|name| object.get(*name)?.as_str());
    match value.as_str().or(field) {
        Some(text) => text.parse().map(Some),
        // A row that never became a task.
        None if object.get("id").is_some_and(Value::is_null) => Ok(None),
        None => Err("no id in it: expected \"id\", \"task\" or \"batch\"".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: &str = "01990000-0000-7000-8000-000000000000";

    #[test]
    fn ids_are_read_as_commands_print_them() {
        let text = format!(
            "{BATCH}\n\n {BATCH}.7 \r\n\"{BATCH}\"\n{{\"index\":0,\"id\":\"{BATCH}.0\",\"value\":1}}\n\
             {{\"$error\":{{\"id\":\"{BATCH}.1\"}}}}\n{{\"index\":2,\"id\":null}}\n{{\"batch\":\"{BATCH}\"}}\n"
        );
        let ids: Vec<String> = parse(&text).unwrap().iter().map(ToString::to_string).collect();
        let task = |index: u64| format!("{BATCH}.{index}");
        assert_eq!(ids, [BATCH.to_owned(), task(7), BATCH.to_owned(), task(0), task(1), BATCH.to_owned()]);
        assert_eq!(parse("").unwrap(), []);
        let array = format!(
            "[\n  {{\"task\":\"{BATCH}.0\"}},\n  {{\"batch\":\"{BATCH}\"}},\n \"{BATCH}.7\", {{\"id\":null}}\n]\n"
        );
        let ids: Vec<String> = parse(&array).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(ids, [task(0), BATCH.to_owned(), task(7)]);
        assert_eq!(parse("[]").unwrap(), []);
        assert_eq!("-".parse(), Ok(Ids::Stdin));
    }

    #[test]
    fn a_line_without_an_id_is_named() {
        for (text, why) in [
            ("nothing", "line 1 of stdin: \"nothing\" is no id"),
            ("\n{\"value\":7}", "line 2 of stdin: no id in it"),
            ("{\"id\":7", "not JSON"),
            ("{\"id\":\"x\"}", "\"x\" is no id"),
            ("[{\"batch\":\"x\"}]", "stdin: element 1: \"x\" is no id"),
            ("[\"x\",", "stdin: not a JSON array"),
        ] {
            let error = format!("{:?}", parse(text).unwrap_err());
            assert!(error.contains(&why.replace('"', "\\\"")), "{error}");
        }
    }
}
